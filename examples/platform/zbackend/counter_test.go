//go:build integration

// `make integration` runs these tests next to a database, whose address is in DATABASE.

package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"testing"
)

func TestGreetingsAreCounted(t *testing.T) {
	address := os.Getenv("DATABASE")
	if address == "" {
		t.Fatal("DATABASE is not set")
	}
	handler := newHandler("v1.2.3", frontend, counter{address})
	for _, want := range []int{1, 2} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", "/api/greeting?name=integration", nil))
		var body greetings
		if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil {
			t.Fatalf("%v: %s", err, answer.Body)
		}
		if body.Count != want {
			t.Errorf("count is %d, not %d", body.Count, want)
		}
	}
}
