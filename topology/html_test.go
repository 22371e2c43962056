package topology

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The page is looked at by a browser without a network: everything is inside of the picture, no text runs out of its box, no two boxes
// lie on each other, and the search field works.
func TestPageInABrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: test/install-deps.sh installs it", err)
	}
	sh(t, `ip netns add rt; for b in 1 2; do ip link add br$b type bridge; ip addr add 10.$b.0.1/16 dev br$b; ip link set br$b up; done
		for i in $(seq 50); do b=$((i % 5 == 0 ? 2 : 1)); ip netns add c$i; ip link add veth-long-$i up master br$b type veth peer name eth0 netns c$i; ip -n c$i addr add 10.$b.0.$((i+1))/16 dev eth0; ip -n c$i link set eth0 up; done
		ip link add x1 netns c1 type veth peer name x2 netns rt; ip link set veth-long-7 down
		iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80`)
	defer sh(t, unplug+`for i in $(seq 50); do ip netns del c$i; done; ip netns del rt; ip link del br1; ip link del br2; iptables -t nat -F`)
	v := view(t)
	v.Faults = []Fault{{Space: "c7", Link: "eth0", Text: `the cable is down: <b>"&</b>`}}
	for _, language := range []string{"en", "zh"} {
		page := HTML(v, words(t, language))
		if found := regexp.MustCompile(`(?i)(src|href)=|@import|url\(|<b>`).FindString(page); found != "" {
			t.Errorf("the page would load something, or is not escaped: %s", found)
		}
		page = strings.Replace(page, "</body>", "<script>"+inspector+"</script></body>", 1)
		file := filepath.Join(t.TempDir(), "page.html")
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		dom := browse(t, browser, "--dump-dom", "file://"+file)
		_, report, ok := strings.Cut(dom, `<pre id="report">`)
		if !ok {
			t.Fatalf("the script has not run:\n%.2000s", dom)
		}
		report, _, _ = strings.Cut(report, "</pre>")
		want := "boxes 51\noverlaps \noutside \nspilled \nleft after a search 1\nrows 105\n"
		if report != want {
			t.Errorf("%s: the browser sees\n%s\nwant\n%s", language, report, want)
		}
	}
	if keep := os.Getenv("KEEP_SCREENSHOT"); keep != "" {
		file := filepath.Join(t.TempDir(), "page.html")
		if err := os.WriteFile(file, []byte(HTML(v, words(t, "zh"))), 0o644); err != nil {
			t.Fatal(err)
		}
		browse(t, browser, "--hide-scrollbars", "--window-size=1400,2400", "--screenshot="+keep, "file://"+file)
	}
}

// inspector measures what a reader would see.
const inspector = `
const box = e => e.getBoundingClientRect();
const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
const picture = box(document.querySelector("svg"));
const groups = [...document.querySelectorAll(".space")];
const rects = groups.map(g => box(g.querySelector("rect")));
const overlaps = [], outside = [], spilled = [];
rects.forEach((a, i) => rects.forEach((b, j) => {
  if (i < j && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) overlaps.push(groups[i].dataset.name);
}));
groups.forEach((g, i) => g.querySelectorAll("text").forEach(t => { if (!inside(box(t), rects[i])) spilled.push(t.textContent); }));
document.querySelectorAll("svg text, svg rect").forEach(e => { if (!inside(box(e), picture)) outside.push(e.textContent || e.className.baseVal); });
const find = document.getElementById("find");
find.value = "10.1.0.12/16"; find.dispatchEvent(new Event("input"));
const left = groups.filter(g => !g.classList.contains("off")).length;
const pre = document.createElement("pre");
pre.id = "report";
pre.textContent = "boxes " + groups.length + "\noverlaps " + overlaps + "\noutside " + outside + "\nspilled " + spilled + "\nleft after a search " + left +
  "\nrows " + document.querySelectorAll("tr.row").length + "\n";
document.body.append(pre);
`

func browse(t *testing.T, browser string, args ...string) string {
	t.Helper()
	home := t.TempDir()
	cmd := exec.Command(browser, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + home}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	done := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer done.Stop()
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, errs.String())
	}
	return out.String()
}
