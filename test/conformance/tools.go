//go:build tools

// Package conformance pins the OCI runtime validation programs that run.sh builds.
package conformance

import (
	_ "github.com/opencontainers/runtime-tools/cmd/runtimetest"
	_ "github.com/opencontainers/runtime-tools/validation/create"
)
