// zbackend serves a greeting as JSON, and the frontend that displays it.
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

// version is the output of `git describe`, set by the Makefile.
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
		Handler:           newHandler(version, os.DirFS(environment("FRONTEND_DIR", "/srv")), counter{os.Getenv("DATABASE")}),
		ReadHeaderTimeout: 5 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("zbackend %s listening on %s", version, server.Addr)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	// Let active requests finish; a second signal exits immediately.
	stop()
	log.Print("zbackend is shutting down")
	shutdown, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(shutdown); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func environment(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
