package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/gateway"
	"github.com/grille-gateway/grille/node/logkey"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve [DIR]", Short: "Run the gateway", Args: cobra.MaximumNArgs(1),
		Long: "Runs the gateway until it is interrupted or told to terminate; requests in progress finish. Logs go to standard error.",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := a.folder(args, 0)
			settings, err := config.Load(dir)
			if err != nil {
				return err
			}
			log := logger(a.err, settings.Log)
			err = gateway.Serve(cmd.Context(), gateway.Options{Folder: dir, Version: version(), Logger: log,
				Progress: func(stage string) { log.Info("loading the circuit", logkey.Stage, stage) }})
			if err == nil {
				log.Info("gateway closed")
			}
			return hint(err, "grille doctor %s", dir)
		},
	}
}

// logger is what the settings ask for. They are validated.
func logger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		panic("grille: log level: " + err.Error())
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
