package field

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/gateway"
)

// shiftFolder and shiftBy make this test's own program a gateway whose clock is wrong: the folder, and by how much.
const (
	shiftFolder = "GRILLE_FIELD_FOLDER"
	shiftBy     = "GRILLE_FIELD_SHIFT"
)

// serveShifted is `grille serve` with another clock. The gateway itself has no such setting.
func serveShifted(dir string) int {
	by, err := time.ParseDuration(os.Getenv(shiftBy))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	g, err := gateway.Open(ctx, gateway.Options{Folder: config.Folder(dir), Version: "shifted",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Now: func() time.Time { return time.Now().Add(by) }})
	if err == nil {
		err = g.Run(ctx)
		err = errors.Join(err, g.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
