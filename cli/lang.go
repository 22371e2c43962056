package cli

import (
	"cmp"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/mydocker/mydocker/lang"
)

// langFlag belongs to every command that speaks to learners. `mydocker --lang zh COMMAND` means the same.
func langFlag() urfave.Flag {
	return str("lang", "string", `Language of the texts ("en", "zh"); by default that of LC_ALL, LC_MESSAGES, LANG`)
}

// texts are the learner's texts in the language that was asked for. It is the first thing that such a command does, because a bad
// --lang is refused before any effect.
func (s *session) texts(c *urfave.Context) (*lang.Catalogue, error) {
	if name := c.String("lang"); name != "" {
		s.lang = name
	}
	texts, err := s.catalogue()
	if err != nil {
		return nil, usagef(s.verb, "--lang: %v", err)
	}
	return texts, nil
}

// catalogue is of the language that was asked for, or that of the environment.
func (s *session) catalogue() (*lang.Catalogue, error) {
	return lang.Open(cmp.Or(s.lang, lang.Detect(s.lookup)))
}

// meaning is what an error says, in the user's language if that is not English. One that was said in it already has none.
func (s *session) meaning(err error) []string {
	texts, unknown := s.catalogue()
	if unknown != nil || lang.Said(err) {
		return nil
	}
	return texts.Meaning(err)
}

// sayError tells of an error, and what it means.
func (s *session) sayError(err error) {
	fmt.Fprintf(s.streams.Err, "mydocker: %s%s\n", printable(err.Error()), makeRoom(err))
	for _, sentence := range s.meaning(err) {
		fmt.Fprintf(s.streams.Err, "mydocker: %s\n", printable(sentence))
	}
}

// makeRoom is the next step where the disk is full, unless the error names one. It may come from another process, as a text.
func makeRoom(err error) string {
	if said := err.Error(); !strings.Contains(said, unix.ENOSPC.Error()) || strings.Contains(said, "mydocker system prune") {
		return ""
	}
	return "; make room, for instance by `mydocker system prune` (df -h says where)"
}
