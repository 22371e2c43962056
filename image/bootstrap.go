package image

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"
)

// BootstrapOptions describe the image that Bootstrap makes.
type BootstrapOptions struct {
	From      string // "busybox" (or "") or "debian"
	Busybox   string // the static busybox; "" looks in the usual places
	Suite     string // of Debian; "" is stable
	Mirror    string // of Debian; "" is what mmdebstrap or debootstrap takes
	Reference string // "" is busybox:latest or debian:SUITE
	// Log is told what mmdebstrap or debootstrap say; nil keeps it for the error.
	Log io.Writer
}

// Bootstrap makes an image from the host's static busybox; it needs no network. The image is laid out as Docker's
// busybox, and the same program gives the same image, to the last bit. From "debian" it has a small Debian made from
// Debian's packages, by mmdebstrap or debootstrap.
func (s *Store) Bootstrap(ctx context.Context, o BootstrapOptions) (*Image, error) {
	switch o.From {
	case "", "busybox":
	case "debian":
		return s.bootstrapDebian(ctx, o)
	default:
		return nil, fmt.Errorf("bootstrap: an image cannot be made from %q; busybox and debian are known", o.From)
	}
	program, applets, err := readBusybox(ctx, o.Busybox)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	var archive bytes.Buffer
	if err := writeBusyboxTree(&archive, program, applets); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	name := o.Reference
	if name == "" {
		name = "busybox:latest"
	}
	made := bootstrapTime()
	platform := hostPlatform()
	config := Config{Created: &made, OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant,
		Config: ContainerConfig{
			Cmd: []string{"sh"},
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		},
		History: []History{{Created: &made, CreatedBy: "mydocker image bootstrap", Comment: "from the host's static busybox"}},
	}
	return s.importLayer(ctx, &archive, config, name)
}

// bootstrapTime is the time of everything in the image: it must not depend on when it is made.
func bootstrapTime() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

// readBusybox finds the program, sees that it needs no libraries, and asks it for its applets.
func readBusybox(ctx context.Context, where string) ([]byte, []string, error) {
	places := []string{"/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static", "/usr/local/bin/busybox"}
	if where != "" {
		places = []string{where}
	}
	var found []error
	for _, place := range places {
		program, err := os.ReadFile(place)
		if err == nil {
			err = checkStatic(program)
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) || where != "" {
				found = append(found, fmt.Errorf("%s: %w", place, err))
			}
			continue
		}
		list, err := exec.CommandContext(ctx, place, "--list").Output()
		if err != nil {
			return nil, nil, fmt.Errorf("ask %s for its applets: %w", place, err)
		}
		applets := strings.Fields(string(list))
		if !slices.Contains(applets, "sh") {
			return nil, nil, fmt.Errorf("%s --list does not name sh, so it is not a busybox that can be a system", place)
		}
		return program, applets, nil
	}
	if len(found) > 0 {
		return nil, nil, errors.Join(found...)
	}
	return nil, nil, absent("no busybox in " + strings.Join(places, ", ") + "; apt-get install busybox-static")
}

// checkStatic: a program that asks for a dynamic loader finds none in an image that has only itself.
func checkStatic(program []byte) error {
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("not a program for Linux: %w", err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("the program is not static; apt-get install busybox-static")
		}
	}
	return nil
}

func writeBusyboxTree(w io.Writer, program []byte, applets []string) error {
	t := tar.NewWriter(w)
	var err error
	add := func(h *tar.Header, content []byte) {
		if err != nil {
			return
		}
		h.ModTime, h.Size, h.Format = bootstrapTime(), int64(len(content)), tar.FormatPAX
		if err = t.WriteHeader(h); err == nil {
			_, err = t.Write(content)
		}
	}
	directory := func(name string, mode int64) {
		add(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
	}
	directory("bin", 0o755)
	add(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, program)
	slices.Sort(applets)
	for _, applet := range slices.Compact(applets) {
		if applet != "busybox" && path.Base(applet) == applet {
			add(&tar.Header{Typeflag: tar.TypeLink, Mode: 0o755, Name: "bin/" + applet, Linkname: "bin/busybox"}, nil)
		}
	}
	for _, name := range []string{"dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/log", "var/spool", "var/spool/mail", "var/www"} {
		directory(name, 0o755)
	}
	directory("root", 0o700)
	directory("tmp", 0o1777)
	directory("var/tmp", 0o1777)
	for _, file := range busyboxFiles() {
		add(&tar.Header{Typeflag: tar.TypeReg, Name: file[0], Mode: 0o644}, []byte(file[1]))
	}
	add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/bin/env", Linkname: "../../bin/env", Mode: 0o777}, nil)
	if err != nil {
		return err
	}
	return t.Close()
}

// busyboxFiles are the few files without which users have no names.
func busyboxFiles() [][2]string {
	return [][2]string{
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nbin:x:2:2:bin:/bin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\n" +
			"sync:x:4:100:sync:/bin:/bin/sync\nmail:x:8:8:mail:/var/spool/mail:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\n" +
			"operator:x:37:37:Operator:/var:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"},
		{"etc/group", "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nwheel:x:10:root\nmail:x:8:\nwww-data:x:33:\noperator:x:37:\n" +
			"users:x:100:\nnobody:x:65534:\n"},
		{"etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"},
	}
}
