package userkit

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLocationsAreChecked(t *testing.T) {
	for _, good := range []Location{{}, {Latitude: -90, Longitude: 180, Accuracy: MaxAccuracy, At: noon}} {
		_, err := good.normalise(noon)
		require.NoError(t, err)
	}
	for _, bad := range []Location{
		{Latitude: 90.1}, {Latitude: -90.1}, {Longitude: 180.1}, {Longitude: -180.1}, {Accuracy: -1}, {Latitude: math.NaN()},
		{Longitude: math.Inf(1)}, {Accuracy: math.NaN()}, {Accuracy: math.Inf(1)},
	} {
		_, err := bad.normalise(noon)
		require.Equal(t, CodeOutOfRange, ErrorCode(err), "%v", bad)
	}
	for _, bad := range []BoundingBox{{West: -181}, {East: 181}, {South: -91}, {North: 91}, {South: 2, North: 1}, {West: math.NaN()}} {
		require.Equal(t, CodeOutOfRange, ErrorCode(bad.check()), "%v", bad)
	}
}

// Whatever is in a box is in one of the ranges of its places, which are few, in order and
// apart, and which hold little else.
func TestPlacesCoverBoxes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	degrees := func(most float64) float64 {
		if random.IntN(3) == 0 {
			return most * float64(random.IntN(5)-2) / 2
		}
		return most * (2*random.Float64() - 1)
	}
	for range 300 {
		box := BoundingBox{West: degrees(180), South: degrees(90), East: degrees(180), North: degrees(90)}
		if random.IntN(3) == 0 { // a small one
			box.East, box.North = min(180, box.West+random.Float64()/100), min(90, box.South+random.Float64()/100)
		}
		box.South, box.North = min(box.South, box.North), max(box.South, box.North)
		require.NoError(t, box.check())
		places := box.Places()
		require.NotEmpty(t, places)
		require.LessOrEqual(t, len(places), MaxPlaceRanges)
		for i, part := range places {
			require.LessOrEqual(t, part.First, part.Last)
			require.GreaterOrEqual(t, part.First, int64(0))
			if i > 0 {
				require.Greater(t, part.First, places[i-1].Last+1)
			}
		}
		covered := func(l Location) bool {
			return slices.ContainsFunc(places, func(part PlaceRange) bool { return part.First <= l.Place() && l.Place() <= part.Last })
		}
		for _, part := range box.Meridians() {
			for _, latitude := range []float64{box.South, box.North, box.South + (box.North-box.South)*random.Float64()} {
				for _, longitude := range []float64{part.West, part.East, part.West + (part.East-part.West)*random.Float64()} {
					inside := Location{Latitude: latitude, Longitude: longitude}
					require.True(t, box.Contains(inside), "%v in %v", inside, box)
					require.True(t, covered(inside), "%v in %v", inside, box)
				}
			}
		}
	}
	small := BoundingBox{West: 13.3, South: 52.4, East: 13.5, North: 52.6}
	area := int64(0)
	for _, part := range small.Places() {
		area += part.Last - part.First + 1
	}
	require.Less(t, float64(area)/math.Exp2(2*placeBits), 3*(0.2/360)*(0.2/180), "a few times the box")
}

func TestBoxesCrossTheAntimeridian(t *testing.T) {
	fiji := BoundingBox{West: 177, South: -20, East: -178, North: -16} // RFC 7946, section 5.2
	for longitude, inside := range map[float64]bool{177: true, 176.9: false, 180: true, -180: true, -178: true, -177.9: false, 0: false} {
		require.Equal(t, inside, fiji.Contains(Location{Latitude: -17, Longitude: longitude}), "%v", longitude)
	}
	for _, touching := range []BoundingBox{{West: 170, South: -1, East: 180, North: 1}, {West: -180, South: -1, East: -170, North: 1}} {
		for _, longitude := range []float64{180, -180} {
			require.True(t, touching.Contains(Location{Longitude: longitude}))
		}
		require.False(t, touching.Contains(Location{}))
	}
	text, err := json.Marshal(fiji)
	require.NoError(t, err)
	require.Equal(t, "[177,-20,-178,-16]", string(text))
	var read BoundingBox
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, fiji, read)
	require.Error(t, json.Unmarshal([]byte("[1,2,3]"), &read))

	at := func(longitudes ...float64) (features []Feature) {
		for _, longitude := range longitudes {
			features = append(features, Feature{Geometry: Point{Coordinates: [2]float64{longitude, 5}}})
		}
		return features
	}
	require.Equal(t, BoundingBox{West: 177, South: 5, East: -178, North: 5}, boxAround(at(177, 179, -178)))
	require.Equal(t, BoundingBox{West: -10, South: 5, East: 20, North: 5}, boxAround(at(20, -10, 0)))
	require.Equal(t, BoundingBox{West: 7, South: 5, East: 7, North: 5}, boxAround(at(7)))
}
