package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// shells are the ways in which `mydocker completion --help` says to install the scripts, and the function that stands in for
// mydocker: what was completed is shown instead of done.
func shells() []struct{ name, rc, script, asks string } {
	show := `mydocker() { if [ "$1" = __complete ]; then command mydocker "$@"; else printf '<%s>' "$@"; echo; fi; }` + "\n"
	return []struct{ name, rc, script, asks string }{
		{"bash", ".bashrc", "", show + "PS1='ready: '; source <(command mydocker completion bash)\n"},
		{"zsh", ".zshrc", "fpath/_mydocker", show + "PS1='ready: '; fpath=($HOME/fpath $fpath); autoload -U compinit; compinit -u -D\n"},
		{"fish", ".config/fish/config.fish", ".config/fish/completions/mydocker.fish", `function mydocker
	if test "$argv[1]" = __complete; command mydocker $argv; else; printf '<%s>' $argv; echo; end
end
function fish_prompt; echo 'ready: '; end
set -g fish_greeting
`},
	}
}

// inShell starts a shell on a terminal, as the user has it who has installed our completion.
func inShell(t *testing.T, name, rc, script, config string) *terminal {
	t.Helper()
	home := t.TempDir()
	write := func(file, text string) {
		path := filepath.Join(home, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(rc, config)
	if script != "" {
		write(script, must(t, "completion", name)+"\n")
	}
	// Without it, fish's first start leaves a program in the background that fills this directory from all the host's man pages.
	write(".local/share/fish/generated_completions/none", "")
	if err := os.Symlink(binary, filepath.Join(home, "mydocker")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, "-i")
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=" + home + ":" + os.Getenv("PATH"), "TERM=xterm", "LC_ALL=C.UTF-8"}
	term := atTerminal(t, 40, 200, cmd)
	term.shows("ready: ")
	return term
}

// A user presses the tab key: commands, flags and what is there, in all three shells.
func TestCompletionInShells(t *testing.T) {
	cleanHost(t)
	must(t, "create", "--name", "lonely", "busybox", "true")
	must(t, "create", "--name", "another", "busybox", "true")
	must(t, "network", "create", "labnet")
	must(t, "volume", "create", "precious")
	must(t, "tag", "busybox", "localhost:5000/team/tool:1")
	t.Cleanup(func() {
		must(t, "rm", "lonely", "another")
		must(t, "network", "rm", "labnet")
		must(t, "volume", "rm", "precious")
		must(t, "rmi", "localhost:5000/team/tool:1")
	})
	for _, shell := range shells() {
		t.Run(shell.name, func(t *testing.T) {
			term := inShell(t, shell.name, shell.rc, shell.script, shell.asks)
			for _, c := range []struct{ typed, done string }{
				{"mydocker unpa", "<unpause>"},
				{"mydocker network cre", "<network><create>"},
				{"mydocker run --hostn", "<run><--hostname>"},
				{"mydocker rm -f lone", "<rm><-f><lonely>"},
				{"mydocker container inspect --format x lone", "<container><inspect><--format><x><lonely>"},
				{"mydocker network rm lab", "<network><rm><labnet>"},
				{"mydocker run --network lab", "<run><--network><labnet>"},
				{"mydocker run --network=lab", "<run><--network=labnet>"},
				{"mydocker run --pid container:lon", "<run><--pid><container:lonely>"},
				{"mydocker volume inspect prec", "<volume><inspect><precious>"},
				{"mydocker run -it busyb", "<run><-it><busybox:latest>"},
				{"mydocker run busybox:la", "<run><busybox:latest>"},
				{"mydocker rmi localhost:5000/te", "<rmi><localhost:5000/team/tool:1>"},
				{"mydocker --log-level warn network inspect lab", "<--log-level><warn><network><inspect><labnet>"},
				{"mydocker run --env-file /usr/loc\tbi\tfile", "<run><--env-file></usr/local/bin/file>"},
				{"mydocker network connect labnet lon", "<network><connect><labnet><lonely>"},
				{"mydocker network disconnect lab\tano", "<network><disconnect><labnet><another>"},
				{"mydocker run -v prec", "<run><-v><precious>"},
				{"mydocker history busyb", "<history><busybox:latest>"},
				{"mydocker kill -s TE", "<kill><-s><TERM>"},
				{"mydocker run --log-driver jour", "<run><--log-driver><journald>"},
				{"mydocker ps --format js", "<ps><--format><json>"},
				{"mydocker ps -a --filter stat\texi", "<ps><-a><--filter><status=exited>"},
				{"mydocker ps -a -f name=lon", "<ps><-a><-f><name=lonely>"},
				{"mydocker images --filter befo\tbusyb", "<images><--filter><before=busybox:latest>"},
				{"mydocker network ls --filter=driv\tmacv", "<network><ls><--filter=driver=macvlan>"},
				{"mydocker volume ls -f dang\ttr", "<volume><ls><-f><dangling=true>"},
				{"mydocker events --filter event=heal", "<events><--filter><event=health_status>"},
				{"mydocker volume create --opt devi\t/usr/loc", "<volume><create><--opt><device=/usr/loc>"},
				{"mydocker cp . lon\t/etc/hos", "<cp><.><lonely:/etc/hos>"},
			} {
				term.types(c.typed + "\t\n")
				term.shows(c.done)
			}
			term.types("mydocker stop \t\t") // several: they are listed, and nothing is chosen
			term.shows("another")
			// Not "exit": what a shell writes at its end it writes into the directory that goes with the test.
			term.cmd.Process.Kill()
			term.cmd.Wait()
		})
	}
}
