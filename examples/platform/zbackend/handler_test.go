package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
)

var frontend = fstest.MapFS{
	"index.html":             {Data: []byte("<!doctype html><title>x</title>")},
	"assets/app.0123abcd.js": {Data: []byte("export {}")},
	"assets/style.4567.css":  {Data: []byte("body {}")},
}

func request(t *testing.T, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	newHandler("v1.2.3", frontend, counter{}).ServeHTTP(answer, httptest.NewRequest(method, target, nil))
	return answer
}

func TestStatusAndHeaders(t *testing.T) {
	const forever = "public, max-age=31536000, immutable"
	for _, test := range []struct {
		method, target, contentType, caching string
		status                               int
	}{
		{"GET", "/healthz", "text/plain; charset=utf-8", "no-store", 200},
		{"GET", "/version", "text/plain; charset=utf-8", "no-store", 200},
		{"GET", "/api/greeting", "application/json", "no-store", 200},
		{"GET", "/", "text/html; charset=utf-8", "no-cache", 200},
		{"HEAD", "/", "text/html; charset=utf-8", "no-cache", 200},
		{"GET", "/assets/app.0123abcd.js", "text/javascript; charset=utf-8", forever, 200},
		{"GET", "/assets/style.4567.css", "text/css; charset=utf-8", forever, 200},
		{"GET", "/assets/", "text/plain; charset=utf-8", "", 404},
		{"GET", "/assets/missing.js", "text/plain; charset=utf-8", "", 404},
		{"GET", "/api/missing", "text/plain; charset=utf-8", "", 404},
		{"POST", "/api/greeting", "text/plain; charset=utf-8", "", 405},
		{"DELETE", "/", "text/plain; charset=utf-8", "", 405},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			answer := request(t, test.method, test.target)
			if answer.Code != test.status {
				t.Errorf("status is %d, not %d", answer.Code, test.status)
			}
			if got := answer.Header().Get("Content-Type"); got != test.contentType {
				t.Errorf("content type is %q, not %q", got, test.contentType)
			}
			if got := answer.Header().Get("Cache-Control"); got != test.caching {
				t.Errorf("caching is %q, not %q", got, test.caching)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	if got := request(t, http.MethodGet, "/version").Body.String(); got != "v1.2.3\n" {
		t.Errorf("version is %q", got)
	}
}

func TestGreeting(t *testing.T) {
	for name, want := range map[string]string{
		"":        "Hello, world!",
		" Ada ":   "Hello, Ada!",
		`<b>"&"`:  `Hello, <b>"&"!`,
		"世界 & co": "Hello, 世界 & co!",
	} {
		answer := request(t, http.MethodGet, "/api/greeting?name="+url.QueryEscape(name))
		var body greetings
		if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		if body.Version != "v1.2.3" {
			t.Errorf("version is %q", body.Version)
		}
		found := ""
		for _, one := range body.Greetings {
			if one.Language == "en" {
				found = one.Text
			}
		}
		if found != want {
			t.Errorf("greeting of %q is %q, not %q", name, found, want)
		}
	}
}

func TestNameTooLong(t *testing.T) {
	for length, status := range map[int]int{longestName: 200, longestName + 1: 400} {
		target := "/api/greeting?name=" + url.QueryEscape(strings.Repeat("ü", length))
		if answer := request(t, http.MethodGet, target); answer.Code != status {
			t.Errorf("status for %d characters is %d, not %d", length, answer.Code, status)
		}
	}
}
