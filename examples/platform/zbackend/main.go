// zbackend serves a greeting as JSON, and the frontend that shows it.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is what `git describe` says of the commit; the Makefile sets it.
var version = "unknown"

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	server := &http.Server{
		Addr:              ":" + environment("PORT", "8080"),
		Handler:           newHandler(version, os.DirFS(environment("FRONTEND_DIR", "/srv"))),
		ReadHeaderTimeout: 5 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("zbackend %s listens on %s", version, server.Addr)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	// Requests under way get time to end; a second signal ends the program at once.
	stop()
	log.Print("zbackend stops")
	ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
