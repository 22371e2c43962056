// Package worker does what a remote.Request asks for. It is the only package of the command line that links HTTP.
package worker

import (
	"context"
	"fmt"
	"os"

	"github.com/mydocker/mydocker/cli/remote"
	"github.com/mydocker/mydocker/image"
	"github.com/mydocker/mydocker/image/registry"
)

// Do does one thing at a registry. tell hears how far it is; nil hears nothing.
func Do(ctx context.Context, r remote.Request, tell image.Progress) (a remote.Answer, err error) {
	if r.Verb == "logout" {
		a.Known, err = registry.Logout(r.Server)
		return a, err
	}
	client, err := registry.New(registry.Options{Insecure: r.Insecure, SkipTLSVerify: r.SkipTLSVerify, UserAgent: r.UserAgent})
	if err != nil {
		return a, err
	}
	if r.Verb == "login" {
		_, err = client.Login(ctx, r.Server, r.User, r.Password)
		return a, err
	}
	if r.Verb == "tags" {
		a.Tags, err = client.Tags(ctx, r.Ref)
		return a, err
	}
	store, err := image.Open(r.Root, image.Options{Warn: func(message string) { fmt.Fprintln(os.Stderr, "WARNING: "+message) }})
	if err != nil {
		return a, err
	}
	switch r.Verb {
	case "pull":
		fetched, err := client.Pull(ctx, store, r.Ref, registry.PullOptions{Platform: r.Platform, Progress: tell})
		if err != nil {
			return a, err
		}
		return remote.Answer{Digest: fetched.Digest, Fresh: fetched.Fresh, Stored: fetched.Stored}, nil
	case "push":
		a.Digest, err = client.Push(ctx, store, r.Ref, registry.PushOptions{Progress: tell})
		return a, err
	}
	return a, fmt.Errorf("unknown request %q", r.Verb)
}
