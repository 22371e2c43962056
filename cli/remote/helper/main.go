// Command helper is the part of mydocker that speaks to registries, as a program of its own: one request on standard input,
// answers on standard output, both JSON. With the argument decompress it unpacks its standard input. Users never start it; see
// package remote and image/helper.go.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/cli/remote"
	"github.com/mydocker/mydocker/cli/remote/worker"
	"github.com/mydocker/mydocker/image"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "decompress" {
		if err := image.Decompress(os.Stdout, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// Who started us ends: so do we, as after ctrl-c, and what has arrived is kept for the next try.
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	var r remote.Request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		fmt.Fprintln(os.Stderr, "this program is a part of mydocker: use mydocker pull, push, login or logout")
		os.Exit(1)
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	a, err := worker.Do(ctx, r, func(ev image.Event) {
		mu.Lock()
		defer mu.Unlock()
		if out.Encode(remote.Answer{Event: &ev}) != nil {
			stop() // nobody listens any more
		}
	})
	mu.Lock()
	defer mu.Unlock()
	if out.Encode(remote.Finish(a, err)) != nil {
		os.Exit(1)
	}
}
