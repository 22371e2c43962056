package cgroups

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const twoMegabytes = 2 << 20

// TestHugePages: where the kernel counts huge pages, a group may have no more than its limit, and what is too much is refused when
// it is asked for. Elsewhere the limit is refused by the name of the member. The virtual machine of continuous integration has them.
func TestHugePages(t *testing.T) {
	if os.Getenv("TAKE_HUGE_PAGES") != "" { // in the group
		takeHugePages()
		return
	}
	path := fmt.Sprintf("/mydocker-test-huge-%d", os.Getpid())
	g, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Delete()
	if err := g.Create(); err != nil {
		t.Fatal(err)
	}
	err = g.Set(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: twoMegabytes}}})
	files, _ := filepath.Glob("/sys/fs/cgroup" + path + "/hugetlb.2MB.*max")
	v1, _ := filepath.Glob("/sys/fs/cgroup/hugetlb" + path + "/hugetlb.2MB.*limit_in_bytes")
	files = append(files, v1...)
	if len(files) == 0 {
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "linux.resources.hugepageLimits") {
			t.Errorf("without the controller: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != fmt.Sprint(twoMegabytes) {
			t.Errorf("%s is %s %v", file, text, err)
		}
	}
	pages, err := os.ReadFile("/proc/sys/vm/nr_hugepages")
	if err != nil || strings.TrimSpace(string(pages)) < "4" {
		t.Logf("the kernel keeps %s huge pages: the limit cannot be reached", pages)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestHugePages$")
	cmd.Env = append(os.Environ(), "TAKE_HUGE_PAGES=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "one page: <nil>\ntwo pages: cannot allocate memory\n") {
		t.Errorf("%v %s", err, &out)
	}
}

// takeHugePages waits until it is in the group, and takes what is allowed, then what is too much.
func takeHugePages() {
	os.Stdin.Read(make([]byte, 1))
	take := func(size int) error {
		data, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB)
		if err == nil {
			data[0] = 1
			err = unix.Munmap(data)
		}
		return err
	}
	fmt.Println("one page:", take(twoMegabytes))
	fmt.Println("two pages:", take(2*twoMegabytes))
}

// TestRDMA: a limit for an adapter that the host has not got is refused, by the controller or for lack of it.
func TestRDMA(t *testing.T) {
	g, err := Open(fmt.Sprintf("/mydocker-test-rdma-%d", os.Getpid()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Delete()
	if err := g.Create(); err != nil {
		t.Fatal(err)
	}
	err = g.Set(&specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"nobodys0": {HcaHandles: ptr(uint32(3))}}})
	if err == nil || !strings.Contains(err.Error(), "rdma") {
		t.Errorf("%v", err)
	}
	// One of software is enough: modprobe rdma_rxe; rdma link add rxe0 type rxe netdev NAME.
	adapters, err := filepath.Glob("/sys/class/infiniband/*")
	if err != nil || len(adapters) == 0 {
		t.Log("this host has no adapter: only the refusal is seen")
		return
	}
	name := filepath.Base(adapters[0])
	err = g.Set(&specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{name: {HcaHandles: ptr(uint32(3)), HcaObjects: ptr(uint32(9))}}})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("/sys/fs/cgroup" + g.Path() + "/rdma.max")
	if v1, _ := filepath.Glob("/sys/fs/cgroup/rdma" + g.Path() + "/rdma.max"); len(v1) > 0 {
		files = v1
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("no rdma.max in the group: %v", err)
	}
	text, err := os.ReadFile(files[0])
	if want := name + " hca_handle=3 hca_object=9"; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%q, want %q: %v", text, want, err)
	}
}
