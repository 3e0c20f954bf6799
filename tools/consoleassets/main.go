// Consoleassets fetches what the console serves and did not come from this project,
// into the folder that is its argument: htmx, uPlot and a sprite of lucide icons, each
// with its licence; and the world of its maps beside it. It takes the packages from npm at the versions below and refuses
// one whose hash is another.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// npmPackage is a package of npm at one version, with the files that are taken from it.
type npmPackage struct {
	name, version string
	hash          string            // SHA-512 of the tarball, in base64, as npm calls its integrity
	files         map[string]string // from the path in the package to the name here
}

var packages = []npmPackage{
	{
		name: "htmx.org", version: "4.0.1",
		hash:  "oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==",
		files: map[string]string{"dist/htmx.min.js": "htmx.min.js", "LICENSE": "htmx.LICENSE"},
	},
	{
		name: "uplot", version: "1.6.32",
		hash:  "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
		files: map[string]string{"dist/uPlot.iife.min.js": "uplot.min.js", "dist/uPlot.min.css": "uplot.min.css", "LICENSE": "uplot.LICENSE"},
	},
	{
		name: "lucide-static", version: "1.62.0",
		hash:  "WBZA/m2PvkFpMGHDtsBck5P2A9G4ehLlYu4GwwICcmEm1BvYVgj00lCDxKRWLlbMlOibLaiwdQ88G5pHkSWgwA==",
		files: map[string]string{"LICENSE": "lucide.LICENSE"},
	},
	{ // not served: the console draws its maps from it
		name: "world-atlas", version: "2.0.2",
		hash:  "IXfV0qwlKXpckz1FhwXVwKRjiIhOnWttOskm5CtxMsjgE/MXAYRHWJqgXOpM8IkcPBoXnyTU5lFHcYa5ChG0LQ==",
		files: map[string]string{"countries-110m.json": "../world/countries-110m.json", "LICENSE": "../world/world-atlas.LICENSE"},
	},
	{ // not served: the browser tests look for faults of accessibility with it
		name: "axe-core", version: "4.14.1",
		hash:  "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
		files: map[string]string{"axe.min.js": "../browsertest/testdata/axe.min.js", "LICENSE": "../browsertest/testdata/axe.LICENSE"},
	},
}

// icons are those of lucide that the console shows.
var icons = strings.Fields(`
	activity archive arrow-down arrow-up ban calendar check chevron-down chevron-left chevron-right
	circle-alert circle-check clock columns-3 copy credit-card download eye file-up filter gauge globe
	info key-round laptop layout-dashboard list-checks message-square minus monitor moon pencil plug plus
	power receipt refresh-cw router scroll-text search server settings shield shopping-cart smartphone
	snowflake sun tablet tag tags trash-2 triangle-alert undo-2 unplug upload user user-plus users wallet x`)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: consoleassets FOLDER")
		os.Exit(2)
	}
	if err := fetch(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "consoleassets:", err)
		os.Exit(1)
	}
}

func fetch(folder string) error {
	for _, pkg := range packages {
		files, err := pkg.fetch()
		if err != nil {
			return fmt.Errorf("%s: %w", pkg.name, err)
		}
		for from, to := range pkg.files {
			content, ok := files[from]
			if !ok {
				return fmt.Errorf("%s has no file %s", pkg.name, from)
			}
			if err := os.WriteFile(filepath.Join(folder, to), content, 0o666); err != nil {
				return err
			}
		}
		if pkg.name == "lucide-static" {
			sprite, err := spriteOf(files, pkg.version)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, "icons.svg"), sprite, 0o666); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetch returns the files of the package by their paths.
func (p npmPackage) fetch() (map[string][]byte, error) {
	folder, err := os.MkdirTemp("", "consoleassets")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)                                                                             //nolint:errcheck // a temporary folder
	command := exec.Command("npm", "pack", "--silent", "--pack-destination", folder, p.name+"@"+p.version) //nolint:noctx // a tool that is run by hand
	command.Stderr = os.Stderr
	name, err := command.Output()
	if err != nil {
		return nil, err
	}
	tarball, err := os.ReadFile(filepath.Join(folder, strings.TrimSpace(string(name))))
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(tarball)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != p.hash {
		return nil, fmt.Errorf("the hash of the package is %s, not %s", got, p.hash)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for reader := tar.NewReader(unpacked); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		files[strings.TrimPrefix(header.Name, "package/")] = content
	}
}

// spriteOf makes one SVG of the icons, each a symbol of its name.
func spriteOf(files map[string][]byte, version string) ([]byte, error) {
	var sprite bytes.Buffer
	fmt.Fprintf(&sprite, "<!-- lucide %s, ISC licence: see lucide.LICENSE -->\n<svg xmlns=\"http://www.w3.org/2000/svg\">\n", version)
	for _, icon := range icons {
		source, ok := files["icons/"+icon+".svg"]
		if !ok {
			return nil, fmt.Errorf("lucide has no icon %s", icon)
		}
		_, drawing, _ := strings.Cut(string(source), "<svg")
		_, drawing, _ = strings.Cut(drawing, ">")
		drawing, _, _ = strings.Cut(drawing, "</svg>")
		fmt.Fprintf(&sprite, "<symbol id=\"%s\" viewBox=\"0 0 24 24\">%s</symbol>\n", icon, strings.Join(strings.Fields(drawing), " "))
	}
	sprite.WriteString("</svg>\n")
	return sprite.Bytes(), nil
}
