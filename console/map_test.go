package console

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func TestMaps(t *testing.T) {
	s := newSite(t)
	ada, bob := s.user("ada"), s.user("bob")
	at := func(user userkit.User, name string, longitude, latitude float64) {
		t.Helper()
		device, err := s.users.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{Name: name, LocationConsent: true})
		require.NoError(t, err)
		_, err = s.users.ReportLocation(t.Context(), device.ID, userkit.Location{Latitude: latitude, Longitude: longitude, Accuracy: 20})
		require.NoError(t, err)
	}
	at(ada, "phone <b>", 13.405, 52.52)
	at(bob, "tablet", 178.4, -18.1)
	at(bob, "laptop", -179.5, -17)
	of := "/users/" + ada.ID.String() + "/map"

	body := s.get("/map").says(http.StatusOK, "phone <b>", "tablet", "laptop", "52.5200° N, 13.4050° E", "17.0000° S, 179.5000° W", "± 20 m").body
	require.Equal(t, 3, strings.Count(body, "</title><circle"))
	require.NotContains(t, body, "phone <b>", "names are escaped")
	require.NotContains(t, body, "style=")
	fiji := s.get("/map?bbox=170,-30,-170,-10").says(http.StatusOK, `viewBox="1700.0000 100.5116 200.0000 214.2176"`, "tablet", `cx="1805"`).body
	require.NotContains(t, fiji, "phone")
	require.Contains(t, fiji, "/map?bbox=175%2C-25.257328%2C-175%2C-15.224225", "closer")
	require.Contains(t, fiji, "/map?bbox=178%2C-30%2C-162%2C-10", "to the east")
	for _, wrong := range []string{"1,2,3", "a,b,c,d", "0,50,10,40", "0,-91,10,40", "NaN,0,1,1"} {
		s.get("/map?bbox="+wrong).says(http.StatusUnprocessableEntity, `role="alert"`)
	}

	s.get(of).says(http.StatusOK, "phone <b>", of+"?do=forget")
	require.NotContains(t, s.get(of).ok(), "tablet")
	s.get(of+"?do=forget").says(http.StatusOK, "Forget all locations?")
	s.post(of + "/forget").leads(of)
	body = s.get(of).says(http.StatusOK, "No device has a location here.").body
	require.NotContains(t, body, "do=forget")
	require.Equal(t, 2, strings.Count(s.get("/map").ok(), "</title><circle"), "those of other users stay")
}

// The lines of the atlas are drawn where the world is, and a view has those that it meets.
func TestTheAtlasIsDrawn(t *testing.T) {
	read := world()
	require.Greater(t, len(read.land), 100)
	require.Greater(t, len(read.borders), 150)
	for _, l := range append(read.land, read.borders...) {
		left, right := l[0][0], l[0][0]
		for i, point := range l {
			left, right = min(left, point[0]), max(right, point[0])
			require.True(t, -1800 <= point[1] && point[1] <= 1800)
			if i > 0 {
				jump := point[0] - l[i-1][0]
				require.True(t, -1800 <= jump && jump <= 1800 || point[1] == 1800, "a line across the map")
				require.NotEqual(t, l[i-1], point)
			}
		}
		require.Less(t, right-left, 3601)
	}
	// A point is on land where a ray from it crosses the coast an odd number of times.
	onLand := func(longitude, latitude float64) bool {
		x, y, inside := longitude*unitsPerDegree, -mercator(latitude)*unitsPerDegree, false
		for _, l := range read.land {
			for i, from := range l {
				to := l[(i+1)%len(l)]
				if (float64(from[1]) > y) != (float64(to[1]) > y) &&
					x < float64(from[0])+(y-float64(from[1]))/float64(to[1]-from[1])*float64(to[0]-from[0]) {
					inside = !inside
				}
			}
		}
		return inside
	}
	for place, land := range map[[2]float64]bool{
		{13.4, 52.5}: true, {133, -25}: true, {-55, -10}: true, {100, 60}: true, {-30, 40}: false, {90, -20}: false, {-150, 0}: false, {0, -85}: true, {170, 67}: true,
	} {
		require.Equal(t, land, onLand(place[0], place[1]), "%v", place)
	}
	picture := worldPicture(read)
	require.NoError(t, xml.Unmarshal(picture, new(struct{})))
	require.Equal(t, len(read.land), bytes.Count(picture, []byte("z")), "every ring is drawn, and closed")
	require.Equal(t, len(read.land)+len(read.borders), bytes.Count(picture, []byte("M")))
	require.Less(t, len(picture), 100_000)
}

// TestMapTiles looks at which tiles a map has: those of the part that it shows, past the antimeridian
// too, from one server, which the policy names.
func TestMapTiles(t *testing.T) {
	s := newSiteOf(t, nil, WithMapTiles("https://tiles.example.org:8443/{z}/{x}/{y}.png?key=a&b", "© the makers of <the map>"))
	a := s.get("/map").says(http.StatusOK, "© the makers of <the map>")
	require.Contains(t, a.header.Get("Content-Security-Policy"), "img-src 'self' https://tiles.example.org:8443;")
	require.NotContains(t, a.body, "<the map>")
	require.Contains(t, a.body, `<image href="https://tiles.example.org:8443/2/0/0.png?key=a&amp;b" x="-1800" y="-1800" width="900" height="900"/>`)
	require.Equal(t, 6*3, strings.Count(a.body, "<image "), "and one more on either side")
	require.NotContains(t, a.body, "#borders", "the tiles have borders of their own")

	fiji := s.get("/map?bbox=170,-30,-170,-10").body
	require.Contains(t, fiji, `/5/31/`)
	require.Contains(t, fiji, `/5/0/`)
	for _, wide := range []string{"-180,-90,180,90", "0,0,0.0001,89", "0,0,180,0.0001", "10,10,10,10", "170,-90,-170,90"} {
		require.LessOrEqual(t, strings.Count(s.get("/map?bbox="+wide).ok(), "<image "), 49, wide)
	}

	own := newSiteOf(t, nil, WithMapTiles("/tiles/{z}/{x}/{y}.png", "")).get("/map")
	require.Contains(t, own.header.Get("Content-Security-Policy"), "img-src 'self';")
	require.Contains(t, own.body, `href="/tiles/2/3/1.png"`)
	for _, wrong := range []string{"", "https://tiles.example.org/", "//tiles.example.org/{z}/{x}/{y}", "ftp://tiles.example.org/{z}/{x}/{y}", "https://a;script-src *.org/{z}/{x}/{y}", "https://{z}.org/{x}/{y}", "tiles/{z}/{x}/{y}", "javascript:{z}{x}{y}"} {
		require.Panics(t, func() { WithMapTiles(wrong, "") }, wrong)
	}
}

func TestTheMapIsOfWebMercator(t *testing.T) {
	require.InDelta(t, 180, mercator(85.0511287798), 1e-6)
	require.Equal(t, 180.0, mercator(90))
	require.Equal(t, -180.0, mercator(-90))
	for latitude := -85.0; latitude <= 85; latitude += 5 {
		require.InDelta(t, latitude, latitudeAt(mercator(latitude)), 1e-9)
	}
}

func FuzzBoxesOfMaps(f *testing.F) {
	f.Add(170.0, -30.0, 20.0, 20.0)
	f.Add(-180.0, 90.0, 1000.0, 1e-9)
	f.Fuzz(func(t *testing.T, longitude, latitude, wide, high float64) {
		if !(longitude >= -720 && longitude <= 720 && latitude >= -180 && latitude <= 180 && wide > 0 && high > 0) {
			return
		}
		box := boxAt(longitude, latitude, wide, high)
		inside := func(x, most float64) bool { return x >= -most && x <= most }
		require.True(t, inside(box.West, 180) && inside(box.East, 180) && inside(box.South, 90) && inside(box.North, 90) && box.South < box.North, "%+v", box)
	})
}
