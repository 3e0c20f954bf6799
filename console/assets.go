package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file that pages load. Its address holds a hash of its content, so a browser
// keeps it for ever.
type asset struct {
	address          string // below the base
	kind             string
	content, gzipped []byte
}

var contentTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	".LICENSE": "text/plain; charset=utf-8",
}

// assets are the files of the folder assets by their names, and the picture of the world.
var assets = sync.OnceValue(func() map[string]*asset {
	all := map[string]*asset{}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic(err) // they are in the program
	}
	add := func(name string, content []byte) {
		sum := sha256.Sum256(content)
		all[name] = &asset{
			address: "/assets/" + hex.EncodeToString(sum[:6]) + "/" + name,
			kind:    contentTypes[path.Ext(name)],
			content: content, gzipped: compress(smallest, content),
		}
	}
	for _, entry := range entries {
		content, err := assetFiles.ReadFile("assets/" + entry.Name())
		if err != nil {
			panic(err)
		}
		add(entry.Name(), content)
	}
	add("world.svg", worldPicture(world()))
	return all
})

// icons are the shapes of the icons by their names.
var icons = sync.OnceValue(func() map[string]template.HTML {
	var sprite struct {
		Symbols []struct {
			Name   string `xml:"id,attr"`
			Shapes string `xml:",innerxml"`
		} `xml:"symbol"`
	}
	if err := xml.Unmarshal(assets()["icons.svg"].content, &sprite); err != nil {
		panic(err) // it is in the program
	}
	all := map[string]template.HTML{}
	for _, symbol := range sprite.Symbols {
		all[symbol.Name] = template.HTML(symbol.Shapes) //nolint:gosec // it comes from the program
	}
	return all
})

// The writers of gzip are larger than most pages, so they are used again. Pages have fast ones, and
// assets have those that make the smallest files.
var (
	fast     = gzipWriters(gzip.BestSpeed)
	smallest = gzipWriters(gzip.BestCompression)
)

func gzipWriters(level int) *sync.Pool {
	return &sync.Pool{New: func() any {
		writer, err := gzip.NewWriterLevel(nil, level)
		if err != nil {
			panic(err) // the levels are constants
		}
		return writer
	}}
}

func compress(writers *sync.Pool, content []byte) []byte {
	var buffer bytes.Buffer
	writer := writers.Get().(*gzip.Writer)
	defer writers.Put(writer)
	writer.Reset(&buffer)
	if _, err := writer.Write(content); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

// Asset returns the address of a file of the folder assets.
func (v *view) Asset(name string) (string, error) {
	file, ok := assets()[name]
	if !ok {
		return "", fmt.Errorf("no asset %s", name)
	}
	return v.Base + file.address, nil
}

// serveAsset serves the asset at an address of the form hash/name.
func serveAsset(w http.ResponseWriter, r *http.Request, address string) {
	_, name, _ := strings.Cut(address, "/")
	file, ok := assets()[name]
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", file.kind)
	if file.address == "/assets/"+address {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else { // the page is of another version of the program
		header.Set("Cache-Control", "no-store")
	}
	header.Set("Vary", "Accept-Encoding")
	content := file.content
	if acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		content = file.gzipped
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(content) // nobody to tell
	}
}

// writeCompressed writes an answer, compressed where the browser takes it. A page with a
// secret is not compressed, so that its length says nothing about the secret.
func writeCompressed(w http.ResponseWriter, r *http.Request, status int, content []byte, secret bool) {
	header := w.Header()
	header.Set("Vary", "Accept-Encoding")
	if !secret && len(content) > 1024 && acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		content = compress(fast, content)
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(content) // nobody to tell
	}
}

func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if name == "gzip" && strings.Trim(strings.TrimPrefix(strings.TrimSpace(quality), "q="), "0.") != "" || name == "gzip" && quality == "" {
			return true
		}
	}
	return false
}
