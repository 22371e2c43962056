package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/doctor"
	"github.com/mydocker/mydocker/engine"
	"github.com/mydocker/mydocker/lang"
	"github.com/mydocker/mydocker/trace"
	"github.com/mydocker/mydocker/world"
)

func traceVerb() *verb {
	return &verb{
		name: "trace", summary: "Send a packet, and tell its way", usage: "[OPTIONS] FROM TO[:PORT][/tcp|udp|icmp]", min: 2, max: 2, complete: "container",
		about: `FROM and TO are containers, network namespaces, "host", "outside" or addresses; FROM's is one that somebody here has. One real packet is sent. What is told is
every link that saw it, every rule that decided and whose it is, the addresses before and after each translation, the answer's way, and
where it died. Nothing that is added for this stays: the kernel takes it away when the command ends, however it ends.

The exit status is 0 when an answer came, 1 when none came, and 125 when the packet could not be followed.

Examples:
  $ mydocker trace web outside/icmp
  $ mydocker trace outside host:8080
  $ mydocker trace --predict db web:80
  $ mydocker trace --ipv6 outside host:8080
  $ mydocker trace db [fd00:18::2]:80
  $ mydocker trace --size 1500 web outside/icmp
  $ mydocker trace --pcap way.pcap web 10.99.0.2:53/udp`,
		flags: func() []urfave.Flag {
			return []urfave.Flag{
				yes("predict", "Ask at each decision what will happen, before it is shown"),
				yes("ipv6", "A name means its IPv6 address"),
				number("size", "Send a packet of so many bytes, IP header included, that nobody may part (/udp, /icmp)"),
				str("pcap", "file", "Keep the packets for tcpdump and wireshark"),
				langFlag(),
			}
		},
		run: runTrace,
	}
}

func runTrace(s *session, c *urfave.Context) error {
	texts, err := s.texts(c)
	if err != nil {
		return err
	}
	keep, err := openPcap(c.String("pcap"))
	if err != nil {
		return &engine.ExitError{Code: 125, Err: err}
	}
	t, w, err := s.trace(context.Background(), c.Args().Get(0), c.Args().Get(1), trace.Options{Six: c.Bool("ipv6"), Size: int(c.Int64("size"))})
	if err != nil {
		return &engine.ExitError{Code: 125, Err: errors.Join(err, keep.forget())}
	}
	out := &heard{Writer: s.streams.Out}
	if c.Bool("predict") {
		t.Show(out, texts, s.streams.In)
	} else {
		t.Show(out, texts, nil)
	}
	if keep.file != nil {
		if err := keep.packets(t); err != nil {
			return &engine.ExitError{Code: 125, Err: err}
		}
		fmt.Fprintln(out, texts.Text("trace.kept", "file", keep.file.Name(), "count", len(t.Frames)))
	}
	if t.Outcome != trace.Answered {
		err = explainSilence(out, w, t, texts)
	}
	if err = errors.Join(err, out.err); err != nil {
		return &engine.ExitError{Code: 125, Err: err}
	}
	if t.Outcome == trace.Answered {
		return nil
	}
	return exitStatus(1)
}

func (s *session) trace(ctx context.Context, from, to string, o trace.Options) (*trace.Trace, *world.World, error) {
	w, err := s.readWorld(ctx)
	if err != nil {
		return nil, nil, err
	}
	r, err := trace.Resolve(w, from, to, o)
	if err != nil {
		return nil, nil, err
	}
	t, err := trace.Run(ctx, w, r)
	return t, w, err
}

// explainSilence says which faults the doctor sees on the way.
func explainSilence(out io.Writer, w *world.World, t *trace.Trace, texts *lang.Catalogue) error {
	all, err := doctor.Examine(context.Background(), w)
	if err != nil {
		return err
	}
	way := t.Way()
	on := doctor.Way{Names: way.Names, Targets: way.Targets, Start: way.Start, End: way.End, Six: t.Request.Six(), Beyond: way.Beyond, Routed: way.Routed, Out: way.Out}
	if way.Host {
		on.Ports = []string{doctor.PortName(t.Request.To.Port(), t.Request.Proto)}
	}
	found := all.On(w, on)
	if len(found) > 0 {
		fmt.Fprintln(out, texts.Text("trace.faults"))
	}
	for _, f := range found {
		fmt.Fprintf(out, "  %s %s: %s\n", f.ID, f.Object, f.Cause(texts))
	}
	return nil
}

// pcap is the file of --pcap. It is opened before the packet is sent, so that nobody watches a probe that cannot be kept.
type pcap struct {
	file  *os.File // nil: not wanted
	isNew bool
}

func openPcap(name string) (pcap, error) {
	if name == "" {
		return pcap{}, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // packets may hold secrets
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return pcap{f, true}, err
	}
	f, err = os.OpenFile(name, os.O_WRONLY, 0)
	return pcap{f, false}, err
}

// forget is for a probe that was never sent: a file that was there stays as it is.
func (p pcap) forget() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	if p.isNew {
		err = errors.Join(err, os.Remove(p.file.Name()))
	}
	return err
}

func (p pcap) packets(t *trace.Trace) error {
	err := p.file.Truncate(0)
	if errors.Is(err, unix.EINVAL) { // a pipe, /dev/stdout
		err = nil
	}
	if err == nil {
		err = trace.WritePcap(p.file, t.Frames)
	}
	if err = errors.Join(err, p.file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", p.file.Name(), err)
	}
	return nil
}
