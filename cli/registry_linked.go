//go:build !registry_helper

package cli

import (
	"context"

	"github.com/mydocker/mydocker/cli/remote"
	"github.com/mydocker/mydocker/cli/remote/worker"
	"github.com/mydocker/mydocker/image"
)

// atRegistry does one thing at a registry. This is the plain build: the work is done in this process. registry_helper.go has
// the other one.
func atRegistry(ctx context.Context, r remote.Request, tell image.Progress) (remote.Answer, error) {
	return worker.Do(ctx, r, tell)
}
