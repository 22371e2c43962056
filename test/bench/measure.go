package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// spawn starts a command and waits for it. Only this is measured. The exit status must be 0.
func spawn(argv []string) (time.Duration, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, err
	}
	files := []*os.File{null, null, null}
	began := time.Now()
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Files: files, Env: os.Environ()})
	if err != nil {
		return 0, err
	}
	state, err := p.Wait()
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	if !state.Success() {
		out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput() // once more, to see what it says
		return 0, fmt.Errorf("%s: %s\n%s", strings.Join(argv, " "), state, out)
	}
	return took, nil
}

// output runs a command beside the measurement.
func output(argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, &out, &stderr)
	}
	return strings.TrimSpace(out.String()), nil
}

// times is the measurements of one contestant.
type times []time.Duration

// quantile is the q-th part of the sorted times, q from 0 to 1.
func (t times) quantile(q float64) time.Duration {
	s := slices.Sorted(slices.Values(t))
	if len(s) == 0 {
		return 0
	}
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// row is what one work took each contestant.
type row struct {
	work    string
	names   []string
	results map[string]times
	notes   []string
	// against is whose median the others are divided by.
	against string
}

func newRow(work string) *row { return &row{work: work, results: map[string]times{}} }

func (r *row) add(name string, t ...time.Duration) {
	if _, ok := r.results[name]; !ok {
		r.names = append(r.names, name)
	}
	r.results[name] = append(r.results[name], t...)
}

func (r *row) ratio(name string) float64 {
	base := r.results[r.against].quantile(0.5)
	if base == 0 {
		return 0
	}
	return float64(r.results[name].quantile(0.5)) / float64(base)
}

// pairs compares two names that were measured in turn, per times each: the fastest of every turn, because other work only adds,
// and of their ratios the median, because it is the same moment for both.
func (r *row) pairs(name string, per int) float64 {
	a, b := r.results[name], r.results[r.against]
	var ratios []float64
	for i := 0; i+per <= min(len(a), len(b)); i += per {
		ratios = append(ratios, float64(a[i:i+per].quantile(0))/float64(b[i:i+per].quantile(0)))
	}
	if len(ratios) == 0 {
		return 0
	}
	slices.Sort(ratios)
	return (ratios[len(ratios)/2] + ratios[(len(ratios)-1)/2]) / 2
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }

func (r *row) print(w io.Writer) {
	fmt.Fprintf(w, "  %-24s %10s %10s %10s %8s\n", "ms", "median", "fastest", "90 %", "ratio")
	for _, name := range r.names {
		t := r.results[name]
		ratio := "-"
		if r.against != "" && r.ratio(name) > 0 {
			ratio = fmt.Sprintf("%.2f", r.ratio(name))
		}
		fmt.Fprintf(w, "  %-24s %10s %10s %10s %8s\n", name, ms(t.quantile(0.5)), ms(t.quantile(0)), ms(t.quantile(0.9)), ratio)
	}
	for _, note := range r.notes {
		fmt.Fprintln(w, "  "+note)
	}
}

// table is all rows.
type table struct {
	rounds int
	rows   []*row
}

func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Median of %d interleaved runs, in milliseconds; in brackets the ratio to the first of each row's baseline.\n\n", t.rounds)
	b.WriteString("| work | contestant | median | fastest | 90 % | ratio |\n|---|---|---:|---:|---:|---:|\n")
	for _, r := range t.rows {
		for i, name := range r.names {
			work := r.work
			if i > 0 {
				work = ""
			}
			ratio := ""
			if r.against != "" && r.ratio(name) > 0 {
				ratio = fmt.Sprintf("%.2f", r.ratio(name))
			}
			q := r.results[name]
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", work, name, ms(q.quantile(0.5)), ms(q.quantile(0)), ms(q.quantile(0.9)), ratio)
		}
		for _, note := range r.notes {
			fmt.Fprintf(&b, "| | %s | | | | |\n", note)
		}
	}
	return b.String()
}
