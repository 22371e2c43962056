package cli

import (
	urfave "github.com/urfave/cli/v2"

	"github.com/mydocker/mydocker/lang"
)

// langFlag belongs to every command that speaks to learners. `mydocker --lang zh COMMAND` means the same.
func langFlag() urfave.Flag {
	return str("lang", "string", `Language of the texts ("en", "zh"); by default that of LC_ALL, LC_MESSAGES, LANG`)
}

// texts are the learner's texts in the language that was asked for. It is the first thing that such a command does, because a bad
// --lang is refused before any effect.
func (s *session) texts(c *urfave.Context) (*lang.Catalogue, error) {
	name := c.String("lang")
	if name == "" {
		name = s.lang
	}
	if name == "" {
		name = lang.Detect(s.lookup)
	}
	texts, err := lang.Open(name)
	if err != nil {
		return nil, usagef(s.verb, "--lang: %v", err)
	}
	return texts, nil
}
