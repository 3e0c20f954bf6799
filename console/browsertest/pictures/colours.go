package main

import (
	"cmp"
	"image"
	"image/color"
	"math"
	"slices"
)

// tint is a colour of a picture and how often it is there.
type tint struct {
	channels [3]uint8
	count    int
}

// fewColours returns a picture with at most 256 colours, found by cutting the space of
// colours at the median until there are as many boxes. Pages have few colours; what is
// lost are shades on the edges of letters.
func fewColours(whole image.Image) *image.Paletted {
	bounds := whole.Bounds()
	counts := map[[3]uint8]int{}
	at := func(x, y int) [3]uint8 {
		r, g, b, _ := whole.At(x, y).RGBA()
		return [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}
	}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	var all []tint
	for channels, count := range counts {
		all = append(all, tint{channels, count})
	}
	slices.SortFunc(all, func(a, b tint) int { return slices.Compare(a.channels[:], b.channels[:]) }) // the same each time
	boxes := [][]tint{all}
	for len(boxes) < 256 {
		widest, channel, most := 0, 0, 0.0
		for i, box := range boxes {
			for c := range 3 {
				if w := float64(spread(box, c)) * math.Cbrt(float64(pixels(box))); w > most {
					widest, channel, most = i, c, w
				}
			}
		}
		if most == 0 {
			break // every colour has its own box
		}
		box := boxes[widest]
		slices.SortStableFunc(box, func(a, b tint) int { return cmp.Compare(a.channels[channel], b.channels[channel]) })
		cut := median(box, channel)
		boxes[widest] = box[:cut]
		boxes = append(boxes, box[cut:])
	}
	palette := make(color.Palette, len(boxes))
	index := map[[3]uint8]uint8{}
	for i, box := range boxes {
		// The most frequent colour stands for the box, so that grounds stay exactly as they are.
		most := slices.MaxFunc(box, func(a, b tint) int { return cmp.Compare(a.count, b.count) }).channels
		palette[i] = color.RGBA{most[0], most[1], most[2], 255}
		for _, one := range box {
			index[one.channels] = uint8(i)
		}
	}
	small := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			small.SetColorIndex(x, y, index[at(x, y)])
		}
	}
	return small
}

// spread returns how far apart the colours of a box are in a channel.
func spread(box []tint, channel int) int {
	low, high := 255, 0
	for _, one := range box {
		low, high = min(low, int(one.channels[channel])), max(high, int(one.channels[channel]))
	}
	return high - low
}

// pixels returns how many pixels of a picture have a colour of a box.
func pixels(box []tint) (sum int) {
	for _, one := range box {
		sum += one.count
	}
	return sum
}

// median returns where a sorted box is cut in the middle of its range, which is between two colours
// that differ in the channel.
func median(box []tint, channel int) int {
	middle := (int(box[0].channels[channel]) + int(box[len(box)-1].channels[channel])) / 2
	return slices.IndexFunc(box, func(one tint) bool { return int(one.channels[channel]) > middle })
}
