package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/engine"
)

const (
	oneContainer  = "CONTAINER"
	anyContainers = "CONTAINER [CONTAINER...]"
)

func startVerb() *verb {
	return &verb{
		name: "start", summary: "Start one or more stopped containers",
		usage: "[OPTIONS] " + anyContainers, rules: true, min: 1, max: -1, complete: "container",
		about: `The exit status is that of the container with --attach; otherwise 1 when one of them could not be started.

Examples:
  $ mydocker start web
  $ mydocker start -ai shell`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("attach,a", "Attach STDOUT/STDERR and forward signals"),
				str("detach-keys", "string", "Override the key sequence for detaching a container"),
				yes("interactive,i", "Attach container's STDIN"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			o := engine.StartOptions{Attach: c.Bool("attach"), Interactive: c.Bool("interactive")}
			refs := c.Args().Slice()
			beside := o.Attach || o.Interactive
			if beside && len(refs) > 1 {
				return &usageError{s.verb, "you cannot start and attach multiple containers at once", 1}
			}
			var err error
			if o.DetachKeys, err = s.detachKeys(c, beside); err != nil {
				return s.refuse(err)
			}
			e, err := s.engine()
			if err != nil {
				return err
			}
			if beside {
				wasCopied := s.isCopied(e, refs[0])
				code, err := e.Start(context.Background(), refs[0], o, s.streams)
				if err == nil && !wasCopied {
					s.warnIfCopied(e, refs[0])
				}
				return status(code, err)
			}
			return s.eachPrinted(refs, func(ref string) error {
				wasCopied := s.isCopied(e, ref)
				_, err := e.Start(context.Background(), ref, o, s.streams)
				if err == nil && !wasCopied {
					s.warnIfCopied(e, ref)
				}
				return err
			})
		},
	}
}

// stopFlags are those of stop and restart.
func stopFlags() []urfave.Flag {
	return []urfave.Flag{
		str("signal,s", "string", "Signal to send to the container"),
		number("timeout,t,time", "Seconds to wait before killing the container"),
	}
}

func stopTimeout(c *urfave.Context) *int {
	if !c.IsSet("timeout") {
		return nil
	}
	seconds := c.Int("timeout")
	return &seconds
}

func stopVerb() *verb {
	return &verb{
		name: "stop", summary: "Stop one or more running containers",
		usage: "[OPTIONS] " + anyContainers, min: 1, max: -1, complete: "container",
		about: `The container's stop signal (TERM unless the image says otherwise) is sent; if the container still runs after
the timeout (10 seconds), it is killed.

Examples:
  $ mydocker stop web
  $ mydocker stop -t 1 web db`,
		flags: stopFlags,
		run: func(s *session, c *urfave.Context) error {
			if err := s.checkSignal(c.String("signal")); err != nil {
				return err
			}
			return s.onEach(c, func(e *engine.Engine, ref string) error {
				return e.Stop(context.Background(), ref, stopTimeout(c), c.String("signal"))
			})
		},
	}
}

func restartVerb() *verb {
	return &verb{
		name: "restart", summary: "Restart one or more containers",
		usage: "[OPTIONS] " + anyContainers, min: 1, max: -1, complete: "container",
		about: `Examples:
  $ mydocker restart -t 2 web`,
		flags: stopFlags,
		run: func(s *session, c *urfave.Context) error {
			if err := s.checkSignal(c.String("signal")); err != nil {
				return err
			}
			return s.onEach(c, func(e *engine.Engine, ref string) error {
				if signal := c.String("signal"); signal != "" {
					if err := e.Stop(context.Background(), ref, stopTimeout(c), signal); err != nil {
						return err
					}
				}
				return e.Restart(context.Background(), ref, stopTimeout(c))
			})
		},
	}
}

func killVerb() *verb {
	return &verb{
		name: "kill", summary: "Kill one or more running containers",
		usage: "[OPTIONS] " + anyContainers, min: 1, max: -1, complete: "container",
		about: `Examples:
  $ mydocker kill web
  $ mydocker kill -s HUP web`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{strDefault("signal,s", "string", "KILL", "Signal to send to the container")}
		},
		run: func(s *session, c *urfave.Context) error {
			if err := s.checkSignal(c.String("signal")); err != nil {
				return err
			}
			return s.onEach(c, func(e *engine.Engine, ref string) error {
				return e.Kill(context.Background(), ref, c.String("signal"))
			})
		},
	}
}

// checkSignal refuses a signal that does not exist before any container is touched.
func (s *session) checkSignal(name string) error {
	if name == "" {
		return nil
	}
	if _, err := engine.ParseSignal(name); err != nil {
		return &usageError{s.verb, err.Error(), 1}
	}
	return nil
}

// onEach does something to every container named, and prints each name after its success.
func (s *session) onEach(c *urfave.Context, do func(e *engine.Engine, ref string) error) error {
	e, err := s.engine()
	if err != nil {
		return err
	}
	return s.eachPrinted(c.Args().Slice(), func(ref string) error { return do(e, ref) })
}

func pauseVerb() *verb {
	return &verb{
		name: "pause", summary: "Pause all processes within one or more containers",
		usage: anyContainers, min: 1, max: -1, complete: "container",
		about: `The cgroup freezer stops the processes where they are; they do not notice.

Examples:
  $ mydocker pause web
  $ mydocker unpause web`,
		run: func(s *session, c *urfave.Context) error {
			return s.onEach(c, func(e *engine.Engine, ref string) error { return e.Pause(context.Background(), ref) })
		},
	}
}

func unpauseVerb() *verb {
	return &verb{
		name: "unpause", summary: "Unpause all processes within one or more containers",
		usage: anyContainers, min: 1, max: -1, complete: "container",
		about: `Examples:
  $ mydocker unpause web`,
		run: func(s *session, c *urfave.Context) error {
			return s.onEach(c, func(e *engine.Engine, ref string) error { return e.Unpause(context.Background(), ref) })
		},
	}
}

func waitVerb() *verb {
	return &verb{
		name: "wait", summary: "Block until one or more containers stop, then print their exit codes",
		usage: anyContainers, min: 1, max: -1, complete: "container",
		about: `Examples:
  $ mydocker wait web`,
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			return s.each(c.Args().Slice(), func(ref string) error {
				code, err := e.Wait(context.Background(), ref)
				if err == nil {
					_, err = fmt.Fprintln(s.streams.Out, code)
				}
				return err
			})
		},
	}
}

func rmVerb() *verb {
	return &verb{
		name: "rm", summary: "Remove one or more containers",
		usage: "[OPTIONS] " + anyContainers, min: 1, max: -1, complete: "container",
		about: `Examples:
  $ mydocker rm web
  $ mydocker rm -f -v web db`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("force,f", "Force the removal of a running container (uses SIGKILL)"),
				yes("volumes,v", "Remove anonymous volumes associated with the container"),
			}
		},
		run: func(s *session, c *urfave.Context) error {
			o := engine.RemoveOptions{Force: c.Bool("force"), Volumes: c.Bool("volumes")}
			e, err := s.engine()
			if err != nil {
				return err
			}
			return s.each(c.Args().Slice(), func(ref string) error {
				err := e.Remove(context.Background(), strings.TrimSpace(ref), o)
				var none *engine.NoSuchContainer
				if o.Force && errors.As(err, &none) {
					s.report(err)
					return nil // said, and not counted: what is not there need not be removed
				}
				if err == nil {
					_, err = fmt.Fprintln(s.streams.Out, ref)
				}
				return err
			})
		},
	}
}

func renameVerb() *verb {
	return &verb{
		name: "rename", summary: "Rename a container",
		usage: "CONTAINER NEW_NAME", min: 2, max: 2, complete: "container name",
		about: `Examples:
  $ mydocker rename web frontend`,
		run: func(s *session, c *urfave.Context) error {
			e, err := s.engine()
			if err != nil {
				return err
			}
			return e.Rename(context.Background(), c.Args().Get(0), c.Args().Get(1))
		},
	}
}
