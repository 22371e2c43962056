package cli

import (
	"os"
	"syscall"

	"github.com/sirupsen/logrus"
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/state"
)

// settleLater lets new images be written to the disk after the command has ended, by a process that nobody waits for. When that
// does not come about, or is killed, the images are verified at their first use after the next start of the machine: nothing is
// worth failing for here.
func (s *session) settleLater() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err == nil {
		err = state.Disinherit()
	}
	if err == nil {
		defer null.Close()
		argv := []string{"mydocker", "--root", s.root.Lib, "--run-root", s.root.Run, "image", "settle"}
		// A session of its own: ctrl-c at the terminal is not meant for it. "/": it does not stand in anybody's directory.
		_, err = os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{Dir: "/", Files: []*os.File{null, null, null},
			Env: os.Environ(), Sys: &syscall.SysProcAttr{Setsid: true}})
	}
	if err != nil {
		logrus.Debugf("the images are not written to the disk now: %v", err)
	}
}

func settleVerb() *verb {
	return &verb{
		name: "settle", summary: "Wait until all images are on the disk", hidden: true,
		about: `pull and load do not wait for the disk; this does.

Examples:
  $ mydocker pull -q nginx && mydocker image settle`,
		run: func(s *session, _ *urfave.Context) error {
			images, err := s.images()
			if err != nil {
				return err
			}
			return images.Settle()
		},
	}
}
