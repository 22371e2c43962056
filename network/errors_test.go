package network

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// What is not there, or is there already, is said in a sentence that does not speak of files.
func TestErrorsSpeakOfNoFiles(t *testing.T) {
	m := newManager(t)
	ctx := context.Background()
	create(t, m, CreateOptions{Name: "br0", Subnet: "172.20.0.0/16"})
	start(t, m, "web", "br0")
	_, again := m.Create(ctx, CreateOptions{Name: "br0"})
	_, overlap := m.Create(ctx, CreateOptions{Name: "br1", Subnet: "172.20.0.0/24"})
	_, link := m.Create(ctx, CreateOptions{Name: "eth0"})
	_, twice := tryStart(m, "web", "br0")
	_, network := m.Network("nowhere")
	_, sandbox := m.Sandbox("0123456789abcdef")
	for text, c := range map[string]struct{ err, kind error }{
		"network with name br0 already exists":                       {again, fs.ErrExist},
		"overlaps with network br0":                                  {overlap, fs.ErrExist},
		"choose another name, or see it with `ip -d link show eth0`": {link, fs.ErrExist},
		"container web is on the network already":                    {twice, fs.ErrExist},
		"network nowhere not found":                                  {network, fs.ErrNotExist},
		"is not connected to network bridge":                         {m.Detach(ctx, containerID("web"), "bridge"), fs.ErrNotExist},
		"container 0123456789ab has no network namespace of its own": {sandbox, fs.ErrNotExist},
	} {
		if c.err == nil || !errors.Is(c.err, c.kind) || strings.Contains(c.err.Error(), "file ") || !strings.Contains(c.err.Error(), text) {
			t.Errorf("%s: %v", text, c.err)
		}
	}
}
