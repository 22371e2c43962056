package engine

import (
	"fmt"
	"os"
	"strings"

	"github.com/mydocker/mydocker/container"
)

// readSecurityOpts checks --security-opt before there is any effect, and puts the content of a seccomp profile in the place
// of its file's name: a container starts again with the profile that it was made with.
func readSecurityOpts(o *CreateOptions) error {
	for i, opt := range o.Security.SecurityOpt {
		key, value := splitSecurityOpt(opt)
		if key != "seccomp" || value == "unconfined" || value == "builtin" || strings.HasPrefix(value, "{") {
			continue
		}
		text, err := os.ReadFile(value)
		if err != nil {
			return fmt.Errorf("--security-opt seccomp=%s: opening the profile failed: %w", value, err)
		}
		if _, err := container.SeccompProfile(text, nil); err != nil {
			return fmt.Errorf("--security-opt seccomp=%s: %w", value, err)
		}
		o.Security.SecurityOpt[i] = "seccomp=" + string(text)
	}
	so := container.SpecOptions{Args: []string{"true"}}
	return applySecurityOpts(&so, o.Security.SecurityOpt)
}

func splitSecurityOpt(opt string) (key, value string) {
	at := strings.IndexAny(opt, "=:") // the colon is Docker's old form
	if at < 0 {
		return opt, ""
	}
	return opt[:at], opt[at+1:]
}

// applySecurityOpts puts --security-opt into the options of the spec; what is not known is refused by name.
func applySecurityOpts(so *container.SpecOptions, opts []string) error {
	for _, opt := range opts {
		key, value := splitSecurityOpt(opt)
		switch {
		case key == "no-new-privileges" && (value == "" || value == "true"):
			so.NoNewPrivileges = true
		case key == "no-new-privileges" && value == "false":
		case key == "systempaths" && value == "unconfined":
			so.MaskedPaths, so.ReadonlyPaths = []string{}, []string{}
		case key == "label": // chooseLabels has made labels of it
		case key == "apparmor":
			so.AppArmorProfile = value
		case key == "seccomp" && value == "unconfined":
			so.Seccomp = container.Unconfined()
		case key == "seccomp" && value == "builtin":
		case key == "seccomp":
			so.SeccompProfile = []byte(value)
		default:
			return fmt.Errorf("invalid --security-opt %q: seccomp, no-new-privileges, apparmor, label and systempaths are known", opt)
		}
	}
	return nil
}

// applyAppArmor gives the container the profile that --security-opt names, or the default one, which is loaded if need be. Where
// the host has no AppArmor there is none, as with Docker.
func (e *Engine) applyAppArmor(so *container.SpecOptions) error {
	so.AppArmorProfile = appArmorProfile(so)
	if so.AppArmorProfile != container.DefaultAppArmor {
		return nil
	}
	return container.LoadDefaultAppArmor(e.Watch)
}

func appArmorProfile(so *container.SpecOptions) string {
	switch {
	case so.AppArmorProfile != "" || !container.LoadsAppArmor():
		return so.AppArmorProfile
	case so.Privileged:
		return "unconfined"
	}
	return container.DefaultAppArmor
}
