package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/imidentity/issuer/internal/config"
)

type configCmd struct {
	Check   configCheckCmd   `cmd:"" help:"Say everything that is wrong with a settings file."`
	Example configExampleCmd `cmd:"" help:"Print a settings file with every key, its default and its meaning."`
}

type configCheckCmd struct {
	File string `arg:"" help:"The settings file."`
}

func (*configCheckCmd) Help() string {
	return `It reads what serve would read, the ISSUER_ variables of the environment included, and starts nothing. What has only
to be made before the first start is no fault of the file, and named besides.

    issuer config check /etc/issuer/issuer.yaml`
}

func (c *configCheckCmd) Run(s *streams) error {
	cfg, todo, err := config.Check(c.File, s.env)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s is good: issuer %s, %s, %s.\n", filepath.Base(c.File), cfg.Issuer,
		count(len(cfg.Domains), "domain"), count(len(cfg.Clients), "client"))
	for _, e := range todo {
		fmt.Fprintf(s.out, "Before the first start: %s: %s\n", e.Path, e.Message)
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

type configExampleCmd struct{}

func (*configExampleCmd) Help() string {
	return `What is printed is accepted as it stands. Put your own names into it:

    issuer config example > issuer.yaml
    issuer config check issuer.yaml`
}

func (*configExampleCmd) Run(s *streams) error {
	_, err := io.WriteString(s.out, config.Example)
	return err
}
