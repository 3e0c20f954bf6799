package memory

import (
	"cmp"
	"encoding/binary"
	"time"
	"unique"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/jsonvalue"
)

// word is a text that many records share, such as a status or the name of a
// node: it is kept once and takes one machine word in each record. The zero word
// is no text; wordOf("") is the empty one.
type word = unique.Handle[string]

func wordOf[S ~string](text S) word { return unique.Make(string(text)) }

// words returns the words of texts.
func words[S ~string](texts []S) []word {
	made := make([]word, len(texts))
	for i, text := range texts {
		made[i] = wordOf(text)
	}
	return made
}

// micros is a time in microseconds since 1970, UTC. The zero time keeps its own
// number, which comes before all others.
type micros int64

func microsOf(t time.Time) micros { return micros(t.UnixMicro()) }

func (m micros) time() time.Time { return time.UnixMicro(int64(m)).UTC() }

// none is the number of the zero time.
var none = microsOf(time.Time{})

// date is a day as a number that orders like the calendar; 0 is the zero day.
type date int32

func dateOf(day userkit.Day) date {
	return date(day.Year<<9 | int(day.Month)<<5 | day.Day)
}

func (d date) day() userkit.Day {
	return userkit.Day{Year: int(d >> 9), Month: time.Month(d >> 5 & 15), Day: int(d & 31)}
}

// compareIDs orders ids by their bytes.
func compareIDs[T any](a, b *userkit.ID[T]) int {
	high := cmp.Compare(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(b[:8]))
	if high != 0 {
		return high
	}
	return cmp.Compare(binary.BigEndian.Uint64(a[8:]), binary.BigEndian.Uint64(b[8:]))
}

// attribute is one entry of a user's attributes: a slice of them takes a tenth
// of the space of a small map.
type attribute struct {
	name  word
	value any
}

func attributesOf(values userkit.Attributes) []attribute {
	if len(values) == 0 {
		return nil
	}
	kept := make([]attribute, 0, len(values))
	for name, value := range values {
		kept = append(kept, attribute{wordOf(name), jsonvalue.Clone(value)})
	}
	return kept
}

func attributesFrom(kept []attribute) userkit.Attributes {
	if len(kept) == 0 {
		return nil
	}
	values := make(userkit.Attributes, len(kept))
	for _, entry := range kept {
		values[entry.name.Value()] = jsonvalue.Clone(entry.value)
	}
	return values
}

// distinct returns the values, each once. The order is that of first occurrence.
func distinct[T comparable](values []T) []T {
	if len(values) < 2 {
		return values
	}
	seen := make(map[T]struct{}, len(values))
	kept := make([]T, 0, len(values))
	for _, value := range values {
		if _, again := seen[value]; !again {
			seen[value] = struct{}{}
			kept = append(kept, value)
		}
	}
	return kept
}
