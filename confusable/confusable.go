// Package confusable compares texts by what they look like, by the data of Unicode on characters
// that look alike (UTS 39):
//
//	users, err := userkit.New(store, userkit.WithConfusableCheck(confusable.Skeleton))
//
// It is a separate package because the data is large, changes with each version of Unicode, and
// comes from the module go.mau.fi/util, whose license is the MPL 2.0.
package confusable

import "go.mau.fi/util/confusable"

// Skeleton returns the skeleton of a text by UTS 39: texts that look the same have the same
// skeleton. It is for comparing only, not for showing, and may differ between versions of
// Unicode.
func Skeleton(text string) string { return confusable.Skeleton(text) }
