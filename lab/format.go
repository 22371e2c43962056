package lab

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// A lab is written like this:
//
//	---
//	title: The cable
//	about: two namespaces and one cable
//	needs: ip ping
//	image: busybox
//	hosts: 1
//	here: yes
//	---
//	What it is about.
//
//	## The first step
//	Text.
//	```sh
//	commands that the student types
//	```
//	```check
//	fail: The sentence that a student is told when the lines below fail.
//	link_up red eth0
//	```
//	```hint
//	…
//	```
//	```solution
//	answer: b
//	commands
//	```
//	```wrong
//	says: a part of the sentence that this mistake is answered with
//	commands
//	```
//	```right
//	commands of another way that is right, too
//	```
//	```setup
//	commands that prepare the step
//	```
//
// `answer:` is what is given to `lab check`; a check sees it as $ANSWER. A translation, NAME.zh.md, has the same steps in the same
// order, with their texts and hints; its blocks ```fail hold the sentences of the step's checks, one a line.

// maxFile is more than any lesson needs, in bytes.
const maxFile = 1 << 20

// kinds are the blocks that a step may have, and what may stand at their heads.
func kinds() map[string][]string {
	return map[string][]string{"sh": nil, "check": {"fail"}, "hint": nil, "solution": {"answer"}, "wrong": {"says", "answer"}, "right": {"answer"}, "setup": nil}
}

// block is one fenced block.
type block struct {
	kind string
	line int
	head map[string]string
	body string
}

// section is a heading with what follows it.
type section struct {
	title  string
	line   int
	text   string
	blocks []block
}

// fault is an error in a lab file.
func fault(file string, line int, format string, args ...any) error {
	return fmt.Errorf("lab file %s, line %d: "+format, append([]any{file, line}, args...)...)
}

// Parse reads a lab. file is for errors.
func Parse(file, name string, data []byte) (*Lab, error) {
	head, sections, err := split(file, data, kinds())
	if err != nil {
		return nil, err
	}
	l := &Lab{Name: name, Hosts: 1, file: file}
	for _, s := range sections {
		l.blocks = append(l.blocks, s.blocks...)
	}
	for key, value := range head {
		switch key {
		case "title":
			l.Title = value
		case "about":
			l.About = value
		case "needs":
			l.Needs = strings.Fields(value)
		case "image":
			l.Image = value
		case "hosts":
			if value != "1" && value != "2" {
				return nil, fault(file, 1, "hosts is %q: 1 or 2", value)
			}
			l.Hosts = int(value[0] - '0')
		case "here":
			if value != "yes" && value != "no" {
				return nil, fault(file, 1, "here is %q: yes or no", value)
			}
			l.Here = value == "yes"
		default:
			return nil, fault(file, 1, "unknown key %q between the lines ---: title, about, needs, image, hosts, here", key)
		}
	}
	switch {
	case l.Title == "" || l.About == "":
		return nil, fault(file, 1, "title and about are needed between two lines --- at the top")
	case l.Image != "" && l.Image != "busybox":
		return nil, fault(file, 1, "image is %q: only busybox can be made without a network; load others in a setup block", l.Image)
	case !allPrograms(l.Needs):
		return nil, fault(file, 1, "needs lists the names of programs, without paths")
	case len(sections) < 2:
		return nil, fault(file, 1, "there is no step: a step begins with a line \"## Title\"")
	}
	l.Intro = sections[0].text
	for _, b := range sections[0].blocks {
		if b.kind != "setup" {
			return nil, fault(file, b.line, "a block %s belongs to a step, behind a line \"## Title\"", b.kind)
		}
		l.Setup += b.body
	}
	for _, s := range sections[1:] {
		step, err := s.step(file)
		if err != nil {
			return nil, err
		}
		l.Steps = append(l.Steps, step)
	}
	if !slices.ContainsFunc(l.Steps, func(s Step) bool { return len(s.Checks) > 0 }) {
		return nil, fault(file, 1, "no step has a check: there would be nothing to pass")
	}
	return l, nil
}

func allPrograms(names []string) bool {
	good := regexp.MustCompile(`^[A-Za-z0-9_.+-]+$`)
	return !slices.ContainsFunc(names, func(n string) bool { return !good.MatchString(n) })
}

func (s section) step(file string) (Step, error) {
	step := Step{Title: s.title, Text: s.text}
	for _, b := range s.blocks {
		switch b.kind {
		case "sh":
			step.Commands += b.body
		case "setup":
			step.Setup += b.body
		case "check":
			if b.head["fail"] == "" {
				return step, fault(file, b.line, "a check begins with \"fail: \" and the sentence that a student is told")
			}
			if strings.TrimSpace(b.body) == "" {
				return step, fault(file, b.line, "this check has no command, so it would always pass")
			}
			step.Checks = append(step.Checks, Check{Script: b.body, Fail: b.head["fail"]})
		case "hint":
			step.Hints = append(step.Hints, strings.TrimSpace(b.body))
		case "solution":
			if step.Solution != (Answer{}) {
				return step, fault(file, b.line, "step %q has two solutions", s.title)
			}
			step.Solution = Answer{b.body, b.head["answer"]}
		case "right":
			step.Right = append(step.Right, Answer{b.body, b.head["answer"]})
		case "wrong":
			if b.head["says"] == "" {
				return step, fault(file, b.line, "a mistake begins with \"says: \" and a part of the sentence that answers it")
			}
			step.Wrong = append(step.Wrong, Wrong{Answer{b.body, b.head["answer"]}, b.head["says"]})
		}
	}
	if step.Solution == (Answer{}) {
		step.Solution.Script = step.Commands
	}
	switch {
	case len(step.Checks) > 0 && step.Solution == (Answer{}):
		return step, fault(file, s.line, "step %q has checks and no solution", s.title)
	case len(step.Checks) == 0 && len(step.Wrong)+len(step.Right) > 0:
		return step, fault(file, s.line, "step %q has mistakes or other ways and no check to judge them", s.title)
	}
	return step, nil
}

// Translate puts a translation over a lab. What is done and checked stays; what is read changes.
func (l *Lab) Translate(file string, data []byte) (*Lab, error) {
	head, sections, err := split(file, data, map[string][]string{"hint": nil, "fail": nil})
	if err != nil {
		return nil, err
	}
	t := *l
	t.Steps = slices.Clone(l.Steps)
	for key, value := range head {
		switch key {
		case "title":
			t.Title = value
		case "about":
			t.About = value
		default:
			return nil, fault(file, 1, "unknown key %q in a translation: title and about", key)
		}
	}
	if len(sections)-1 != len(l.Steps) {
		return nil, fault(file, 1, "this translation has %d steps, the lab has %d", len(sections)-1, len(l.Steps))
	}
	t.Intro = sections[0].text
	for i, s := range sections[1:] {
		step := &t.Steps[i]
		step.Title, step.Text = s.title, s.text
		var hints, fails []string
		for _, b := range s.blocks {
			if b.kind == "hint" {
				hints = append(hints, strings.TrimSpace(b.body))
				continue
			}
			for line := range strings.Lines(b.body) {
				if line = strings.TrimSpace(line); line != "" {
					fails = append(fails, line)
				}
			}
		}
		if len(hints) != len(step.Hints) || len(fails) != len(step.Checks) {
			return nil, fault(file, s.line, "step %q has %d hints and %d sentences of checks; the lab has %d and %d", s.title, len(hints), len(fails), len(step.Hints), len(step.Checks))
		}
		step.Hints = hints
		step.Checks = slices.Clone(step.Checks)
		for j := range step.Checks {
			step.Checks[j].Fail = fails[j]
		}
	}
	return &t, nil
}

// split takes a file apart: the keys between the lines ---, then a section before the first "## ", and one for each of these.
func split(file string, data []byte, allowed map[string][]string) (head map[string]string, sections []section, err error) {
	if len(data) > maxFile {
		return nil, nil, fault(file, 1, "it has more than %d bytes", maxFile)
	}
	if strings.ContainsRune(string(data), 0) {
		return nil, nil, fault(file, 1, "it is no text")
	}
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	head, next, err := frontMatter(file, lines)
	if err != nil {
		return nil, nil, err
	}
	sections = []section{{line: next + 1}}
	for i := next; i < len(lines); i++ {
		line, current := lines[i], &sections[len(sections)-1]
		switch {
		case strings.HasPrefix(line, "## "):
			sections = append(sections, section{title: strings.TrimSpace(line[3:]), line: i + 1})
		case strings.HasPrefix(line, "```"):
			b, end, err := fenced(file, lines, i, allowed)
			if err != nil {
				return nil, nil, err
			}
			current.blocks = append(current.blocks, b)
			i = end
		default:
			current.text += line + "\n"
		}
	}
	for i := range sections {
		sections[i].text = strings.TrimSpace(sections[i].text)
	}
	return head, sections, nil
}

// frontMatter reads "key: value" lines between two lines "---".
func frontMatter(file string, lines []string) (head map[string]string, next int, err error) {
	head = map[string]string{}
	if strings.TrimSpace(lines[0]) != "---" {
		return nil, 0, fault(file, 1, "a lab begins with a line ---, then title: and about:, then --- again")
	}
	for i, line := range lines[1:] {
		if strings.TrimSpace(line) == "---" {
			return head, i + 2, nil
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, 0, fault(file, i+2, "%q is not \"key: value\"", line)
		}
		key = strings.TrimSpace(key)
		if _, twice := head[key]; twice {
			return nil, 0, fault(file, i+2, "%s is there twice", key)
		}
		head[key] = strings.TrimSpace(value)
	}
	return nil, 0, fault(file, 1, "the second line --- is missing")
}

// fenced reads the block that begins at lines[start], and tells where it ends.
func fenced(file string, lines []string, start int, allowed map[string][]string) (b block, end int, err error) {
	b = block{kind: strings.TrimSpace(lines[start][3:]), line: start + 1, head: map[string]string{}}
	keys, known := allowed[b.kind]
	if !known {
		return b, 0, fault(file, start+1, "unknown kind of block %q: %s", b.kind, strings.Join(sortedKeys(allowed), ", "))
	}
	inHead := true
	for i := start + 1; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) == "```" {
			return b, i, nil
		}
		key, value, _ := strings.Cut(lines[i], ": ")
		if inHead && slices.Contains(keys, key) {
			b.head[key] = strings.TrimSpace(value)
			continue
		}
		inHead = false
		b.body += lines[i] + "\n"
	}
	return b, 0, fault(file, start+1, "the block %s has no end: a line ``` is missing", b.kind)
}

// checkSyntax asks bash whether it understands all scripts of a lab, before a student meets one that it does not. One question is mostly
// enough: each script is made the body of a function.
func (l *Lab) checkSyntax() error {
	all := ""
	for _, b := range l.blocks {
		if b.kind != "hint" {
			all += "f() {\n:\n" + b.body + "\n}\n"
		}
	}
	if _, err := understood(all); err == nil {
		return nil
	}
	for _, b := range l.blocks {
		if b.kind == "hint" {
			continue
		}
		if says, err := understood(b.body); err != nil {
			return fault(l.file, b.line, "this is no script for bash: %s", says)
		}
	}
	return nil
}

// understood is `bash -n`: it reads the script and runs nothing.
func understood(script string) (says string, err error) {
	cmd := exec.Command("bash", "-n")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(strings.ReplaceAll(string(out), "bash: ", "")), err
}

func sortedKeys(m map[string][]string) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
