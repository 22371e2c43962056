package engine

import (
	"fmt"

	"github.com/mydocker/mydocker/container"
)

// applySeccomp is --security-opt seccomp=…; every other option is refused by name.
func applySeccomp(so *container.SpecOptions, key, value string) error {
	if key == "seccomp" && value == "unconfined" {
		so.Seccomp = nil
		return nil
	}
	return fmt.Errorf("--security-opt %s=%s is not supported", key, value)
}
