package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// counter counts how often each name was greeted, in the database: Redis, whose protocol is
// lines of text. An empty address means that nothing is counted.
type counter struct {
	address string
}

const databaseTimeout = 2 * time.Second

// increment returns the new count of a name.
func (c counter) increment(ctx context.Context, name string) (int, error) {
	dialer := net.Dialer{Timeout: databaseTimeout}
	connection, err := dialer.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(databaseTimeout)); err != nil {
		return 0, err
	}
	key := "greeted:" + name
	if _, err := fmt.Fprintf(connection, "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n", len(key), key); err != nil {
		return 0, err
	}
	answer, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return 0, err
	}
	answer = strings.TrimSpace(answer)
	if !strings.HasPrefix(answer, ":") {
		return 0, fmt.Errorf("the database answered %q", answer)
	}
	return strconv.Atoi(answer[1:])
}
