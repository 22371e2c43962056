package image

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestImportTakesEveryCompression(t *testing.T) {
	var ids []Digest
	archive := tarOf(t, file{name: "hello", body: "world"})
	for _, command := range []string{"cat", "gzip", "bzip2", "xz", "zstd"} {
		s := newStore(t)
		c := exec.Command(command, map[string][]string{"cat": {"-"}, "zstd": {"-c"}}[command]...)
		c.Stdin = bytes.NewReader(archive)
		packed, err := c.Output()
		if err != nil {
			t.Fatal(command, err)
		}
		img, err := s.Import(context.Background(), bytes.NewReader(packed), ImportOptions{Reference: "x", Changes: []string{"CMD [\"a\",\"b\"]", "ENV A=1 B='2 3'", "EXPOSE 80 53/udp", "WORKDIR /w"}})
		if err != nil {
			t.Fatal(command, err)
		}
		ids = append(ids, img.Layers[0])
		c1 := img.Config.Config
		if len(c1.Cmd) != 2 || c1.Env[1] != "B=2 3" || len(c1.ExposedPorts) != 2 || c1.WorkingDir != "/w" {
			t.Errorf("%s: changes gave %+v", command, c1)
		}
		data, err := os.ReadFile(filepath.Join(mounted(t, s, img), "hello"))
		if err != nil || string(data) != "world" {
			t.Errorf("%s: %q, %v", command, data, err)
		}
	}
	for _, id := range ids {
		if id != ids[0] || id != digestOf(archive) {
			t.Errorf("layers %v, want all to be the digest of the archive", ids)
		}
	}
}
