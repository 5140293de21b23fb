package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"path"
	"strings"
	"unicode/utf8"
)

const longestName = 40

type greeting struct {
	Language string `json:"language"`
	Text     string `json:"text"`
}

type greetings struct {
	Version   string     `json:"version"`
	Count     int        `json:"count,omitempty"`
	Greetings []greeting `json:"greetings"`
}

// newHandler returns the service's routes; frontend contains the files for the browser.
func newHandler(version string, frontend fs.FS, greeted counter) http.Handler {
	routes := http.NewServeMux()
	routes.Handle("/healthz", readOnly(func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, "ok")
	}))
	routes.Handle("/version", readOnly(func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, version)
	}))
	routes.Handle("/api/greeting", readOnly(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimSpace(r.URL.Query().Get("name"))
		if utf8.RuneCountInString(name) > longestName {
			http.Error(w, fmt.Sprintf("name is longer than %d characters", longestName), http.StatusBadRequest)
			return
		}
		body := greetings{Version: version, Greetings: greet(name)}
		if greeted.address != "" {
			count, err := greeted.increment(r.Context(), name)
			if err != nil {
				log.Printf("not counted: %v", err)
				http.Error(w, "the database is not available", http.StatusServiceUnavailable)
				return
			}
			body.Count = count
		}
		writeJSON(w, body)
	}))
	routes.Handle("/api/", http.NotFoundHandler())
	routes.Handle("/", readOnly(serveFrontend(frontend)))
	return routes
}

// greet returns the greeting in all supported languages; an empty name greets the world.
func greet(name string) []greeting {
	words := []struct{ language, hello, world string }{
		{"de", "Hallo", "Welt"},
		{"en", "Hello", "world"},
		{"es", "Hola", "mundo"},
		{"fr", "Bonjour", "le monde"},
		{"ja", "こんにちは", "世界"},
	}
	result := make([]greeting, 0, len(words))
	for _, word := range words {
		who := name
		if who == "" {
			who = word.world
		}
		result = append(result, greeting{word.language, word.hello + ", " + who + "!"})
	}
	return result
}

// contentTypes does not depend on /etc/mime.types, which is missing in the final image
// and differs between developers' machines.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".ico":  "image/x-icon",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
}

func serveFrontend(frontend fs.FS) http.HandlerFunc {
	files := http.FileServer(http.FS(frontend))
	return func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		// Serve only files: the file server would list a folder.
		if info, err := fs.Stat(frontend, name); err != nil || info.IsDir() {
			http.NotFound(w, r)
			return
		}
		// Asset names contain a content hash, so assets never change.
		if strings.HasPrefix(name, "assets/") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		if contentType, known := contentTypes[path.Ext(name)]; known {
			w.Header().Set("Content-Type", contentType)
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		files.ServeHTTP(w, r)
	}
}

func readOnly(handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are served", http.StatusMethodNotAllowed)
			return
		}
		handler(w, r)
	})
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, text)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Printf("answer not written: %v", err)
	}
}
