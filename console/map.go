package console

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/userkit/userkit"
)

// worldFiles is the world of world-atlas, a TopoJSON, with its licence. No server of maps is asked,
// so nobody but this program learns where devices are.
//
//go:embed world
var worldFiles embed.FS

// unitsPerDegree is the scale of the map, whose coordinates are tenths of a degree of longitude to the
// east and to the south. Its projection is Web Mercator (EPSG:3857), which the tiles of most maps have:
// the world between 85.05° south and 85.05° north is a square.
const unitsPerDegree = 10

// worldTurn is once around the world, in units of the map.
const worldTurn = 360 * unitsPerDegree

// mercator returns how far north of the equator a latitude is on the map, in degrees of longitude. The
// result is between -180 and 180, also for what is closer to a pole than the map reaches.
func mercator(latitude float64) float64 {
	return max(-180, min(180, math.Asinh(math.Tan(latitude*math.Pi/180))*180/math.Pi))
}

// latitudeAt is the inverse of mercator.
func latitudeAt(north float64) float64 {
	return math.Atan(math.Sinh(north*math.Pi/180)) * 180 / math.Pi
}

// line is a line of the map. Each of its points is an x and a y.
type line [][2]int

// atlas is what the map shows of the world.
type atlas struct {
	land, borders []line
}

// world returns the atlas.
var world = sync.OnceValue(func() atlas {
	content, err := worldFiles.ReadFile("world/countries-110m.json")
	if err != nil {
		panic(err) // it is in the program
	}
	read, err := readAtlas(content)
	if err != nil {
		panic(err)
	}
	return read
})

// readAtlas reads the land, as rings, and the borders between countries from the TopoJSON of
// world-atlas.
func readAtlas(content []byte) (atlas, error) {
	type geometry struct {
		Type       string          `json:"type"`
		Arcs       json.RawMessage `json:"arcs"`
		Geometries []geometry      `json:"geometries"`
	}
	var file struct {
		Transform struct{ Scale, Translate [2]float64 }
		Arcs      [][][2]float64
		Objects   struct{ Land, Countries geometry }
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return atlas{}, err
	}
	arcs := make([][][2]int, len(file.Arcs))
	for i, arc := range file.Arcs {
		var x, y float64 // each point is a step from the one before
		for _, step := range arc {
			x, y = x+step[0], y+step[1]
			longitude := x*file.Transform.Scale[0] + file.Transform.Translate[0]
			latitude := y*file.Transform.Scale[1] + file.Transform.Translate[1]
			arcs[i] = append(arcs[i], [2]int{int(math.Round(longitude * unitsPerDegree)), -int(math.Round(mercator(latitude) * unitsPerDegree))})
		}
	}
	// rings returns the rings of a geometry, each as a list of arcs. An arc below zero is reversed.
	var rings func(g geometry) ([][]int, error)
	rings = func(g geometry) ([][]int, error) {
		var polygons [][][]int
		switch g.Type {
		case "GeometryCollection":
			var all [][]int
			for _, part := range g.Geometries {
				some, err := rings(part)
				if err != nil {
					return nil, err
				}
				all = append(all, some...)
			}
			return all, nil
		case "Polygon":
			polygons = make([][][]int, 1)
			if err := json.Unmarshal(g.Arcs, &polygons[0]); err != nil {
				return nil, err
			}
		default:
			if err := json.Unmarshal(g.Arcs, &polygons); err != nil {
				return nil, err
			}
		}
		return slices.Concat(polygons...), nil
	}
	land, err := rings(file.Objects.Land)
	if err != nil {
		return atlas{}, err
	}
	countries, err := rings(file.Objects.Countries)
	if err != nil {
		return atlas{}, err
	}
	var made atlas
	coast := map[int]bool{}
	for _, ring := range land {
		var points [][2]int
		for _, arc := range ring {
			coast[max(arc, ^arc)] = true
			part := arcs[max(arc, ^arc)]
			if arc < 0 {
				part = slices.Clone(part)
				slices.Reverse(part)
			}
			points = append(points, part...)
		}
		made.land = append(made.land, lineOf(around(points)))
	}
	drawn := map[int]bool{}
	for _, ring := range countries {
		for _, arc := range ring {
			if at := max(arc, ^arc); !coast[at] && !drawn[at] {
				drawn[at] = true
				made.borders = append(made.borders, lineOf(unwrapped(arcs[at])))
			}
		}
	}
	return made, nil
}

// unwrapped returns a line that does not jump where it crosses the antimeridian, but goes on
// past it.
func unwrapped(points [][2]int) [][2]int {
	points = slices.Clone(points)
	for i := range points[1:] {
		for points[i+1][0]-points[i][0] > worldTurn/2 {
			points[i+1][0] -= worldTurn
		}
		for points[i+1][0]-points[i][0] < -worldTurn/2 {
			points[i+1][0] += worldTurn
		}
	}
	return points
}

// around is unwrapped for a ring. Only the ring of the south pole goes around the world, and it is
// closed by way of the pole.
func around(points [][2]int) [][2]int {
	points = unwrapped(points)
	first, last := points[0], points[len(points)-1]
	if first[0] != last[0] {
		points = append(points, [2]int{last[0], worldTurn / 2}, [2]int{first[0], worldTurn / 2})
	}
	return points
}

// lineOf returns the line through some points, without those that are where the one before is.
func lineOf(points [][2]int) line { return slices.Compact(points) }

// worldPicture draws the atlas as an SVG to which maps refer, so that a browser gets it once and no
// page draws it again. Each map shows a part of it, and those that cross the antimeridian show it twice.
func worldPicture(drawn atlas) []byte {
	var picture bytes.Buffer
	path := func(id, attributes string, lines []line, end string) {
		fmt.Fprintf(&picture, `<path id="%s"%s d="`, id, attributes)
		for _, l := range lines {
			for i, point := range l {
				if i == 0 {
					fmt.Fprintf(&picture, "M%d %d", point[0], point[1])
				} else {
					fmt.Fprintf(&picture, "l%d %d", point[0]-l[i-1][0], point[1]-l[i-1][1])
				}
			}
			picture.WriteString(end)
		}
		picture.WriteString("\"/>\n")
	}
	picture.WriteString(`<svg xmlns="http://www.w3.org/2000/svg">` + "\n")
	path("land", ` vector-effect="non-scaling-stroke"`, drawn.land, "z")
	path("borders", ` fill="none" vector-effect="non-scaling-stroke"`, drawn.borders, "")
	picture.WriteString("</svg>\n")
	return picture.Bytes()
}

// window is a part of the map in its units; it may reach past the antimeridian in the east.
type window struct{ left, top, width, height float64 }

// These are the bounds of what a map shows.
const (
	narrowest = 0.05 // degrees of longitude
	mapLimit  = 200  // devices
)

// everywhere is the box that a map of the project begins with: the world where people live.
var everywhere = userkit.BoundingBox{West: -180, South: -56, East: 180, North: 79}

// worldMap is a map of devices.
type worldMap struct {
	*view
	Box     userkit.BoundingBox
	Drawing template.HTML
}

// place is a device on a map, as it is told to a person.
type place struct {
	*userkit.Feature
	name, coordinates string
	device, measured  template.HTML // in the table
}

// placesOf returns the devices of some features. What takes time of the table is made here, while
// the names of users are read.
func (v *view) placesOf(features []userkit.Feature) []place {
	places := make([]place, len(features))
	for i := range features {
		of := features[i].Properties
		name := cmp.Or(of.Name, v.T("without a name"))
		places[i] = place{
			&features[i], name, v.coordinates(features[i].Geometry.Coordinates),
			`<span class="row">` + v.DeviceIcon(of.Type) + isolated(name) + `</span>`, v.Ago(of.At),
		}
	}
	return places
}

// roomForPlace is how many bytes a device has on a map as a rule.
const roomForPlace = 400

// newMap draws a map of a box.
func (v *view) newMap(box userkit.BoundingBox, places []place) *worldMap {
	shown := window{left: box.West * unitsPerDegree, top: -mercator(box.North) * unitsPerDegree, width: width(box) * unitsPerDegree, height: height(box) * unitsPerDegree}
	var drawing strings.Builder
	drawing.Grow(roomForPlace * (len(places) + 4))
	write := func(parts ...template.HTML) {
		for _, part := range parts {
			drawing.WriteString(string(part))
		}
	}
	number := func(value float64) template.HTML {
		return escaped(strconv.FormatFloat(math.Round(value*1e5)/1e5, 'f', -1, 64))
	}
	// at returns where a place is.
	at := func(p place) (x, y template.HTML) {
		longitude, latitude := p.Geometry.Coordinates[0], p.Geometry.Coordinates[1]
		if longitude < box.West {
			longitude += 360
		}
		return number(longitude * unitsPerDegree), number(-mercator(latitude) * unitsPerDegree)
	}
	write(`<svg viewBox="`, escaped(fmt.Sprintf("%.4f %.4f %.4f %.4f", shown.left, shown.top, shown.width, shown.height)),
		`" preserveAspectRatio="xMidYMid meet" role="group" aria-label="`, escaped(v.T("Map of the devices")), "\">\n")
	picture := escaped(v.Base + assets()["world.svg"].address)
	layers := []template.HTML{"land", "borders"}
	if v.console.tiles != nil {
		layers = layers[:1] // it is seen until the tiles are there
	}
	for _, id := range layers {
		for _, turn := range []template.HTML{"-3600", "0", "3600"} { // a map may reach past the antimeridian, and so do some lines
			write(`<use class="`, id, `" href="`, picture, `#`, id, `" x="`, turn, `"/>`)
		}
	}
	write(v.console.tiles.over(shown))
	dot := shown.width / 200   // the radius of a device
	for _, p := range places { // below the devices
		// A degree of the equator is 111.3 km; that of a parallel shrinks towards the poles.
		wide := p.Properties.Accuracy / 111_320 / max(math.Cos(p.Geometry.Coordinates[1]*math.Pi/180), 0.01) * unitsPerDegree
		if wide > dot && wide < shown.height {
			x, y := at(p)
			write(`<ellipse class="accuracy" cx="`, x, `" cy="`, y, `" rx="`, number(wide), `" ry="`, number(wide), `"/>`)
		}
	}
	write("\n")
	radius := number(dot)
	for _, p := range places {
		x, y := at(p)
		description := escaped(p.name + ", " + p.coordinates)
		closing := template.HTML(`</g>`)
		if address := v.UserURL(p.Properties.UserID, "devices"); address != "" {
			write(`<a href="`, escaped(address), `" aria-label="`, description, `">`)
			closing = `</a>`
		} else {
			write(`<g>`)
		}
		write(`<title>`, description, `</title><circle cx="`, x, `" cy="`, y, `" r="`, radius, `"/>`, closing)
	}
	write("\n</svg>")
	return &worldMap{view: v, Box: box, Drawing: template.HTML(drawing.String())} //nolint:gosec // every part is template.HTML
}

// coordinates writes a longitude and a latitude.
func (v *view) coordinates(at [2]float64) string {
	text := make([]byte, 0, 32)
	half := func(angle float64, positive, negative string) {
		side := positive
		if angle < 0 {
			angle, side = -angle, negative
		}
		text = append(append(strconv.AppendFloat(text, angle, 'f', 4, 64), "° "...), side...)
	}
	half(at[1], v.T("N"), v.T("S"))
	text = append(text, ", "...)
	half(at[0], v.T("E"), v.T("W"))
	return string(text)
}

// metres writes how accurate a location is; empty: nobody knows.
func (v *view) metres(accuracy float64) string {
	if accuracy == 0 {
		return ""
	}
	return v.T("± %s m", v.Number(int64(math.Ceil(accuracy))))
}

// width is how many degrees of longitude a box has.
func width(box userkit.BoundingBox) float64 {
	if box.West > box.East {
		return box.East - box.West + 360
	}
	return box.East - box.West
}

// height is how many degrees of longitude a box is high on the map.
func height(box userkit.BoundingBox) float64 { return mercator(box.North) - mercator(box.South) }

// Credit returns the names of those whom the tiles of the map are from. It is empty without tiles.
func (m *worldMap) Credit() string {
	if m.console.tiles == nil {
		return ""
	}
	return m.console.tiles.credit
}

// Moved returns the address of the map with another box. It is moved by parts of its width and its
// height, and made larger by the factor zoom, so that a factor below 1 shows less more closely.
func (m *worldMap) Moved(east, north, zoom float64) string {
	wide, high := width(m.Box), height(m.Box)
	return m.Here("bbox", bboxText(boxAt(m.Box.West+wide/2+east*wide, mercator(m.Box.South)+high/2+north*high, wide*zoom, high*zoom)), "cursor", "")
}

// boxAt returns the box around a place, within what a map can show. north, wide and high are in degrees
// of longitude on the map.
func boxAt(longitude, north, wide, high float64) userkit.BoundingBox {
	wide = max(wide, narrowest)
	high = min(max(high, narrowest/2), 360)
	north = max(-180+high/2, min(180-high/2, north))
	box := userkit.BoundingBox{West: -180, East: 180, South: latitudeAt(north - high/2), North: latitudeAt(north + high/2)}
	if wide < 360 {
		turned := func(angle float64) float64 { return math.Mod(math.Mod(angle+180, 360)+360, 360) - 180 }
		box.West, box.East = turned(longitude-wide/2), turned(longitude+wide/2)
	}
	return box
}

// fitted returns a box that has the shape of a map and contains another one.
func fitted(box userkit.BoundingBox) userkit.BoundingBox {
	wide, high := max(1.3*width(box), 24), max(1.5*height(box), 12)
	wide, high = max(wide, 2*high), max(high, wide/2)
	if wide >= 360 {
		return everywhere
	}
	return boxAt(box.West+width(box)/2, (mercator(box.South)+mercator(box.North))/2, wide, high)
}

func bboxText(box userkit.BoundingBox) string {
	var parts []string
	for _, edge := range []float64{box.West, box.South, box.East, box.North} {
		parts = append(parts, strconv.FormatFloat(math.Round(edge*1e6)/1e6, 'f', -1, 64))
	}
	return strings.Join(parts, ",")
}

// parseBox reads the parameter bbox: west, south, east, north, as GeoJSON has it.
func (v *view) parseBox() (box userkit.BoundingBox, given bool, err error) {
	text := v.Query("bbox")
	if text == "" {
		return box, false, nil
	}
	if err := json.Unmarshal([]byte("["+text+"]"), &box); err != nil {
		return box, true, userkit.NewError(userkit.CodeBadFormat, "bbox", "not four numbers")
	}
	return box, true, nil
}

// mapPage is a map of the devices of one user or of the project.
type mapPage struct {
	*userPage // nil: of the project
	Map       *worldMap
	Table     template.HTML // of the devices that the map shows; empty: it shows none
	More      bool          // there are more devices than the map shows
	Fault     string
}

// fill reads the devices of a box. Without one, the map of a user shows the box around all devices.
func (p *mapPage) fill(c *console, v *view, r *http.Request, user userkit.UserID) (status int, err error) {
	query := userkit.LocationQuery{LocationFilter: userkit.LocationFilter{UserID: user}, PageQuery: userkit.PageQuery{Limit: mapLimit}}
	box, given, err := v.parseBox()
	status = http.StatusOK
	var found userkit.FeatureCollection
	if err == nil {
		if given {
			query.Box = userkit.Set(box)
		}
		found, err = c.users.Locations(r.Context(), query)
	}
	if err != nil {
		if !shown(err) {
			return 0, err
		}
		p.Fault, status, box, found = v.ErrorText(err), statusOf(err), everywhere, userkit.FeatureCollection{}
	} else if !given {
		box = everywhere
		if around, some := found.Box.Get(); some && !user.IsZero() {
			box = fitted(around)
		}
	}
	p.More = found.Next != ""
	people := func() (names, error) { return nil, nil }
	if user.IsZero() {
		people = startNames(c, r, found.Features, func(f *userkit.Feature) userkit.UserID { return f.Properties.UserID })
	}
	places := v.placesOf(found.Features)
	p.Map = v.newMap(box, places)
	called, err := people()
	if err != nil {
		return 0, err
	}
	p.list(v, places, called)
	return status, nil
}

// list makes the table of devices; people are their users, for the map of the project.
func (p *mapPage) list(v *view, places []place, people names) {
	var columns []tableColumn[place]
	if p.userPage == nil {
		columns = append(columns, userColumn(v, people, v.T("User"), "map", func(p *place) userkit.UserID { return p.Properties.UserID }))
	}
	columns = append(columns, []tableColumn[place]{
		{plain(v.T("Device")), "", func(p *place) template.HTML { return p.device }},
		{plain(v.T("Location")), "mono", func(p *place) template.HTML { return escaped(p.coordinates) }},
		{plain(v.T("Accuracy")), "number", func(p *place) template.HTML { return escaped(v.metres(p.Properties.Accuracy)) }},
		{plain(v.T("Measured")), "", func(p *place) template.HTML { return p.measured }},
	}...)
	p.Table = table[place]{label: v.T("Devices"), columns: columns}.of(places)
}

func (c *console) showUserMap(v *view, w http.ResponseWriter, r *http.Request) error {
	base, err := c.loadUser(v, r, "map")
	if err != nil {
		return err
	}
	p := mapPage{userPage: base}
	status, err := p.fill(c, v, r, base.User.ID)
	if err != nil {
		return err
	}
	return v.render(w, status, "user_map", p)
}

// forgetLocations deletes where the devices of a user were.
func (c *console) forgetLocations(v *view, w http.ResponseWriter, r *http.Request) error {
	if _, err := c.users.ForgetLocations(r.Context(), userOf(r)); err != nil {
		return err
	}
	return v.done(w, "/users/"+url.PathEscape(userOf(r).String())+"/map", v.T("The locations are forgotten."))
}

func (c *console) showMap(v *view, w http.ResponseWriter, r *http.Request) error {
	v.Title = v.T("Map")
	p := &mapPage{}
	status, err := p.fill(c, v, r, userkit.UserID{})
	if err != nil {
		return err
	}
	return v.render(w, status, "map", struct {
		*view
		Page *mapPage
	}{v, p})
}
