package console

import (
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strconv"
	"strings"
)

// WithMapTiles lays the tiles of a server over maps of devices. address is the address of a tile with
// {z}, {x} and {y} in it, as in "https://tiles.example.org/{z}/{x}/{y}.png"; one that begins with a slash
// is on the host's own server. credit names those whom the map is from, which their licences ask for.
//
// The browser of whoever looks at a map then asks that server for pictures of the places where devices
// are, without a word about the page or the person. By default maps are drawn by this package, and
// nobody else learns what is looked at. WithMapTiles panics if address is not of this form.
func WithMapTiles(address, credit string) Option {
	made, err := newMapTiles(address, credit)
	if err != nil {
		panic("console: WithMapTiles: " + err.Error())
	}
	return func(c *console) { c.tiles = made }
}

// mapTiles are the pictures that a map consists of: at zoom z, 2 to the power of z of them in each
// direction show the world, counted from the north-west.
type mapTiles struct {
	address, credit string
	origin          string // for the Content-Security-Policy; empty: the host's own
}

func newMapTiles(address, credit string) (*mapTiles, error) {
	for _, part := range []string{"{z}", "{x}", "{y}"} {
		if strings.Count(address, part) != 1 {
			return nil, fmt.Errorf("%q does not have %s once", address, part)
		}
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	t := &mapTiles{address: address, credit: credit}
	switch {
	case parsed.Scheme == "" && parsed.Host == "" && strings.HasPrefix(address, "/"):
	case (parsed.Scheme == "https" || parsed.Scheme == "http") && originOnly(parsed.Host):
		t.origin = parsed.Scheme + "://" + parsed.Host
	default:
		return nil, fmt.Errorf("%q begins with neither https:// nor a slash", address)
	}
	return t, nil
}

// originOnly reports whether a host means nothing else in a Content-Security-Policy.
func originOnly(host string) bool {
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == ""
}

const (
	tilesAcross    = 6   // at most, and one more of which a part is seen
	widestMap      = 2.2 // width by height
	closestTiles   = 19  // the zoom that servers of tiles have as a rule
	roomForOneTile = 120
)

// over returns the tiles of a part of the map. There are none without a server of tiles.
func (t *mapTiles) over(shown window) template.HTML {
	if t == nil || !(shown.width > 0 && shown.height > 0) {
		return ""
	}
	// A map that is wider than its box, as it is on a wide screen, shows what is beside it too.
	wide := max(shown.width, widestMap*shown.height)
	left := shown.left + (shown.width-wide)/2
	zoom := int(max(0, min(closestTiles, math.Floor(math.Log2(tilesAcross*worldTurn/wide)))))
	count := 1 << zoom
	side := float64(worldTurn) / float64(count)
	first := func(edge float64) int { return int(math.Floor((edge + worldTurn/2) / side)) }
	last := func(edge float64) int { return int(math.Ceil((edge+worldTurn/2)/side)) - 1 }
	var text strings.Builder
	text.Grow(roomForOneTile * tilesAcross * tilesAcross)
	text.WriteString(`<g class="tiles" aria-hidden="true">`)
	number := func(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) } // a power of two: short
	size := number(side)
	for row := max(first(shown.top), 0); row <= min(last(shown.top+shown.height), count-1); row++ {
		for at := first(left); at <= last(left+wide); at++ {
			turned := ((at % count) + count) % count // a map may reach past the antimeridian
			address := strings.NewReplacer("{z}", strconv.Itoa(zoom), "{x}", strconv.Itoa(turned), "{y}", strconv.Itoa(row)).Replace(t.address)
			fmt.Fprintf(&text, `<image href="%s" x="%s" y="%s" width="%s" height="%s"/>`, template.HTMLEscapeString(address),
				number(float64(at)*side-worldTurn/2), number(float64(row)*side-worldTurn/2), size, size)
		}
	}
	text.WriteString("</g>")
	return template.HTML(text.String()) //nolint:gosec // the address is escaped
}
