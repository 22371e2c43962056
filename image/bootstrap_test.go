package image

import (
	"context"
	"strings"
	"testing"
)

func TestBootstrapIsABusybox(t *testing.T) {
	s := newStore(t)
	img, err := s.Bootstrap(context.Background(), BootstrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("busybox"); err != nil || got.ID != img.ID || got.Config.Config.Cmd[0] != "sh" {
		t.Fatalf("Get: %+v, %v", got, err)
	}
	root := mounted(t, s, img)
	if out := run(t, "chroot", root, "/bin/sh", "-c", "id -un; ls /root; stat -c %a /tmp /root; /usr/bin/env echo ok"); out != "root\n1777\n700\nok\n" {
		t.Errorf("inside the image:\n%s", out)
	}
	again, err := newStore(t).Bootstrap(context.Background(), BootstrapOptions{})
	if err != nil || again.ID != img.ID {
		t.Errorf("the same busybox makes another image: %v and %v (%v)", img.ID, again, err)
	}
}

func TestBootstrapRefusesADynamicProgram(t *testing.T) {
	s := newStore(t)
	if _, err := s.Bootstrap(context.Background(), BootstrapOptions{Busybox: "/bin/ls"}); err == nil || !strings.Contains(err.Error(), "not static") {
		t.Errorf("error %v, want one that says that the program is not static", err)
	}
}
