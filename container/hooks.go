package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// runHook runs one program of the bundle's hooks, with the container's state on its standard input:
// runtime-spec, config.md, "POSIX-platform Hooks".
func runHook(h specs.Hook, kind string, stateJSON []byte) error {
	ctx := context.Background()
	if h.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
		defer cancel()
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		cmd.Args = h.Args
	}
	cmd.Env = append([]string{}, h.Env...) // never nil: that would mean our own environment
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stateJSON), &output, &output
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end within %d seconds", *h.Timeout)
	}
	if err != nil {
		return fmt.Errorf("%s hook %s: %w: %s", kind, h.Path, err, strings.TrimSpace(output.String()))
	}
	return nil
}

func runHooks(hooks []specs.Hook, kind string, s specs.State) error {
	if len(hooks) == 0 {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if err := runHook(h, kind, data); err != nil {
			return err
		}
	}
	return nil
}

// validateHooks refuses what the spec forbids before anything has an effect: runtime-spec, config.md, "POSIX-platform Hooks".
func validateHooks(h *specs.Hooks) error {
	if h == nil {
		return nil
	}
	for _, k := range []struct {
		kind string
		list []specs.Hook
	}{
		//lint:ignore SA1019 deprecated for those who write configs; a runtime has to run them
		{"prestart", h.Prestart}, {"createRuntime", h.CreateRuntime}, {"createContainer", h.CreateContainer},
		{"startContainer", h.StartContainer}, {"poststart", h.Poststart}, {"poststop", h.Poststop},
	} {
		for _, hook := range k.list {
			if !filepath.IsAbs(hook.Path) {
				return fmt.Errorf("hooks.%s: the path %q is not absolute", k.kind, hook.Path)
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				return fmt.Errorf("hooks.%s: %s: a timeout of %d seconds: it is at least 1", k.kind, hook.Path, *hook.Timeout)
			}
		}
	}
	return nil
}

// hasEarlyHooks says whether hooks run before the command does.
func hasEarlyHooks(s *specs.Spec) bool {
	h := s.Hooks
	//lint:ignore SA1019 deprecated for those who write configs; a runtime has to run them
	return h != nil && len(h.Prestart)+len(h.CreateRuntime)+len(h.CreateContainer)+len(h.StartContainer) > 0
}

// runContainerHook runs a hook inside the container's namespaces. Its state came with the config, as the last of Data.
func runContainerHook(s step) error {
	if len(s.Data) == 0 {
		return errors.New("a hook without its state")
	}
	h := specs.Hook{Path: s.Source, Args: s.Data[:len(s.Data)-1]}
	if s.Type != "" {
		h.Env = strings.Split(s.Type, "\x00")
	}
	if s.Num[0] > 0 {
		timeout := int(s.Num[0])
		h.Timeout = &timeout
	}
	return runHook(h, s.Target, []byte(s.Data[len(s.Data)-1]))
}

// addHookState gives hooks that run inside the container the state they want on their standard input. The process id is the one that
// the container sees: runtime-spec, runtime.md, "State".
func (j *createJob) addHookState(config *initConfig) error {
	fill := func(list []step, status specs.ContainerState) error {
		for i := range list {
			if list[i].Kind != stepContainerHook {
				continue
			}
			pid, err := pidInside(j.container.state.Pid)
			if err != nil {
				return err
			}
			data, err := json.Marshal(specs.State{
				Version: specs.Version, ID: j.options.ID, Status: status, Pid: pid,
				Bundle: j.container.state.Bundle, Annotations: j.spec.Annotations,
			})
			if err != nil {
				return err
			}
			list[i].Data = append(append([]string{}, list[i].Data...), string(data))
		}
		return nil
	}
	return errors.Join(fill(config.Steps, specs.StateCreating), fill(config.AfterStart, specs.StateCreated))
}

// OCIState is what `state` prints and what hooks are given: runtime-spec, runtime.md, "State".
func (c *Container) OCIState() specs.State {
	s := specs.State{Version: specs.Version, ID: c.state.ID, Bundle: c.state.Bundle, Annotations: c.state.Annotations}
	switch status := c.Status(); status {
	case Stopped:
		s.Status = specs.StateStopped
	default:
		s.Status, s.Pid = specs.ContainerState(status), c.state.Pid
	}
	return s
}

// pidInside is the number of a process in its own pid namespace: the last of the line NSpid, proc_pid_status(5).
func pidInside(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut(string(status), "\nNSpid:")
	line, _, _ = strings.Cut(line, "\n")
	numbers := strings.Fields(line)
	if len(numbers) == 0 {
		return 0, fmt.Errorf("process %d: the kernel tells no number in its pid namespace", pid)
	}
	return strconv.Atoi(numbers[len(numbers)-1])
}
