package e2e

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// made is an image of three layers with what archives and stores get wrong: hard links, set-user-id, capabilities, owners, odd names,
// whiteouts, a directory that was replaced.
const made = "lab/made:1"

func makeImage(t testing.TB) {
	t.Helper()
	must(t, "image", "bootstrap", "-q")
	layer := func(from, to, script string, changes ...string) {
		must(t, "run", "--name", "maker", "--net", "none", from, "sh", "-ec", script)
		args := []string{"commit", "-m", "by hand", "-a", "Ada"}
		for _, c := range changes {
			args = append(args, "-c", c)
		}
		must(t, append(args, "maker", to)...)
		must(t, "rm", "maker")
	}
	layer("busybox", "lab/one:1", `mkdir -p /srv/d/sub /srv/replaced/old; cd /srv; echo 1 >d/gone; echo 2 >d/sub/kept; echo 3 >replaced/old/x
		echo hard >h1; ln h1 h2; ln -s ../d/sub/kept soft; mkfifo pipe; echo x >'tëst ☃ name'; echo s >suid; chown 12:34 suid; chmod 6755 suid; mkdir -m 1777 sticky`)
	layer("lab/one:1", made, `cd /srv; rm d/gone; rm -r replaced; mkdir replaced; echo new >replaced/new; echo more >>d/sub/kept; rm h2; ln h1 h3`,
		`CMD ["cat","/srv/d/sub/kept"]`, "ENV LAB=über", "EXPOSE 8080/udp", "LABEL a=b", "WORKDIR /srv", "USER 12:34", "VOLUME /data", "STOPSIGNAL SIGINT")
}

// treeOf is what an archive of a root file system has below srv, as text.
func treeOf(t testing.TB, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	linked := map[string]string{} // which of several names is the first is the writer's choice
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", archive, err)
		}
		name := strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")
		if !strings.HasPrefix(name, "srv") {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s: %v", archive, err)
		}
		what := fmt.Sprintf("%c %o %d:%d %s %s %.8x", h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.ModTime.UTC().Format("15:04:05"), h.Linkname, sha256.Sum256(data))
		if h.Typeflag == tar.TypeLink {
			what = linked[strings.TrimPrefix(strings.TrimPrefix(h.Linkname, "./"), "/")]
		}
		linked[name] = what
		lines = append(lines, name+" "+what)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// configOf is what an engine says of an image's configuration, by a template that all of them know.
const configOf = `{{json .Config.Cmd}} {{json .Config.Env}} {{json .Config.ExposedPorts}} {{json .Config.Labels}} {{.Config.WorkingDir}} {{.Config.User}} ` +
	`{{json .Config.Volumes}} {{.Config.StopSignal}} {{.Architecture}} {{.Os}} {{len .RootFS.Layers}}`

// engine is a program with docker's commands.
type engine []string

func (e engine) do(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(e[0], slices.Concat(e[1:], args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", e[0], args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// contents are an image's files and configuration, as the engine has them.
func (e engine) contents(t testing.TB, name string) string {
	t.Helper()
	archive := t.TempDir() + "/export.tar"
	id := e.do(t, "create", "--network", "none", name, "true")
	id = id[strings.LastIndex(id, "\n")+1:]
	e.do(t, "export", "-o", archive, id)
	e.do(t, "rm", id)
	return e.do(t, "image", "inspect", "-f", configOf, name) + "\n" + treeOf(t, archive)
}

// dockerEngine starts a daemon.
func dockerEngine(t testing.TB) engine {
	dir := t.TempDir()
	const socket = "unix:///run/judge-docker.sock"
	daemon := exec.Command("dockerd", "-H", socket, "--data-root", dir+"/data", "--exec-root", "/run/judge-docker", "--pidfile", "/run/judge-docker.pid",
		"--iptables=false", "--bridge=none", "--exec-opt", "native.cgroupdriver=cgroupfs")
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Process.Signal(os.Interrupt)
		daemon.Wait()
		log.Close()
	})
	eventually(t, func() string {
		if out, err := exec.Command("docker", "-H", socket, "version").CombinedOutput(); err != nil {
			return fmt.Sprintf("%s%s", out, read(t, dir+"/log"))
		}
		return ""
	})
	return engine{"docker", "-H", socket}
}

func podmanEngine(t testing.TB) engine {
	dir := t.TempDir()
	t.Cleanup(func() { sh(t, "umount -l "+dir+"/root/overlay 2>/dev/null || :") })
	return engine{"podman", "--root", dir + "/root", "--runroot", dir + "/run", "--tmpdir", dir + "/tmp", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}
}

// TestImagesGoEverywhere: what we save, Docker, podman, skopeo and umoci load, and what they save, we load: the same files and
// the same configuration, in both formats.
func TestImagesGoEverywhere(t *testing.T) {
	if !onFreshHost(t) {
		return
	}
	makeImage(t)
	dir, mine := t.TempDir(), engine{binary}
	must(t, "save", "-o", dir+"/docker-archive.tar", made)
	must(t, "save", "--archive-format", "oci-archive", "-o", dir+"/oci-archive.tar", made)
	want, id := mine.contents(t, made), must(t, "image", "inspect", "-f", "{{.Id}}", made)
	if !strings.Contains(want, "srv/h3") || strings.Contains(want, "gone") || !strings.Contains(want, "6755 12:34") || !strings.Contains(want, "über") {
		t.Fatalf("this is not what was made:\n%s", want)
	}
	// back loads what another program wrote, and compares.
	back := func(who, archive string, sameID bool) {
		t.Helper()
		must(t, "rmi", made)
		name := regexp.MustCompile(`^Loaded image(?: ID)?: `).ReplaceAllString(must(t, "load", "-i", archive), "")
		got := mine.contents(t, name)
		if d := diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" {
			t.Errorf("%s: after the way back:\n%s", who, d)
		}
		if got := must(t, "image", "inspect", "-f", "{{.Id}}", name); sameID && got != id {
			t.Errorf("%s: its id is %s, was %s", who, got, id)
		}
		must(t, "tag", name, made) // oci layouts may have it without a name
	}
	judge := func(who string, e engine, archive string) {
		t.Helper()
		e.do(t, "load", "-i", archive)
		got := e.contents(t, made)
		if d := diff(strings.Split(want, "\n"), strings.Split(got, "\n")); d != "" {
			t.Errorf("%s sees in %s:\n%s", who, archive, d)
		}
	}

	docker := dockerEngine(t)
	judge("docker", docker, dir+"/docker-archive.tar")
	docker.do(t, "save", "-o", dir+"/docker.tar", made)
	back("docker save", dir+"/docker.tar", true)

	podman := podmanEngine(t)
	for _, format := range []string{"docker-archive", "oci-archive"} {
		judge("podman", podman, dir+"/"+format+".tar")
		podman.do(t, "save", "--format", format, "-o", dir+"/podman-"+format+".tar", made)
		back("podman save "+format, dir+"/podman-"+format+".tar", false)
		podman.do(t, "rmi", "-a", "-f")
	}

	for _, from := range []string{"docker-archive", "oci-archive"} {
		for _, to := range []string{"docker-archive:%s:" + made, "oci-archive:%s:" + made, "oci:%s:" + made, "dir:%s"} {
			kind, _, _ := strings.Cut(to, ":")
			path := dir + "/skopeo-" + from + "-" + kind
			sh(t, "skopeo --insecure-policy copy -q "+from+":"+dir+"/"+from+".tar "+fmt.Sprintf(to, path))
			if kind != "dir" { // its own format, which nobody else reads
				back("skopeo from "+from+" to "+kind, path, from == "oci-archive" && kind != "docker-archive")
			}
		}
	}

	sh(t, "cd "+dir+"; mkdir layout; tar -C layout -xf oci-archive.tar; umoci unpack --image layout:1 bundle; tar -C bundle/rootfs --xattrs --numeric-owner -cf umoci.tar srv")
	_, tree, _ := strings.Cut(want, "\n")
	equal(t, "what umoci unpacks", treeOf(t, dir+"/umoci.tar"), tree)
	sh(t, "cd "+dir+"; rm bundle/rootfs/srv/suid; echo repacked >bundle/rootfs/srv/replaced/new; umoci repack --image layout:2 bundle; umoci rm --image layout:1")
	must(t, "load", "-i", dir+"/layout")
	equal(t, "what umoci repacked", see(t, "--net", "none", "-u", "0", made, "sh", "-c", "cat replaced/new; ls -d suid h1 2>/dev/null || :"), "repacked\nh1")
}
