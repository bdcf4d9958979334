package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/client"
	"github.com/grille-gateway/grille/node/config"
)

const (
	// ceremonyPoll is how often a waiting command asks its gateway how far it is.
	ceremonyPoll = time.Second
	// ceremonyAway is for how long a waiting command bears with a gateway that cannot be reached, as while it restarts.
	ceremonyAway = 2 * time.Minute
)

func (a *app) ceremonyCommand() *cobra.Command {
	c := group("ceremony", "Make the circuit's keys together with the other members", a.ceremonyOpen(), a.ceremonyStatus(),
		a.ceremonyContribute(), a.ceremonySeal(), a.ceremonyVerify(), a.ceremonyExport(), a.ceremonySubmit())
	c.Long = `The members make the circuit's keys together, so that nobody has to be trusted for them: they are sound if one contributor in
each of the two phases was honest. One gateway coordinates (open), each member contributes with one command (contribute), the coordinator
closes and seals the phases by itself, and then each member verifies the whole transcript (verify), which stores the keys and logs them.
The network's next version names the circuit then (grille network change --ceremony).`
	return c
}

// ceremonyRequest names a ceremony and what to do in it.
type ceremonyRequest struct {
	Ceremony string `json:"ceremony,omitempty"`
	Phase    int    `json:"phase,omitempty"`
	Adopt    bool   `json:"adopt,omitempty"`
}

func (a *app) ceremonyOpen() *cobra.Command {
	var o api.CeremonyOpening
	var turn, delay time.Duration
	c := &cobra.Command{
		Use: "open", Short: "Open a ceremony with this gateway as its coordinator", Args: cobra.NoArgs,
		Example: `  grille ceremony open --contributors 3 --turn 30m`,
		Long: `Opens a ceremony for the circuit that this program compiles. The members have their turns in order. Who does not contribute in its
turn is passed over, and may come at the end while the phase is open. A phase closes by itself when everybody had a turn and enough have
contributed; its beacon comes from the first checkpoints of the logs after an announced time.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			seconds := int(delay / time.Second)
			o.TurnSeconds, o.BeaconDelay = int(turn/time.Second), &seconds
			var found api.Ceremony
			if err := client.post(cmd.Context(), "/v1/ceremony/open", o, &found); err != nil {
				return fmt.Errorf("opening a ceremony: %w", err)
			}
			return a.printCeremony(found, "Next: each member runs grille ceremony contribute, this one among them")
		},
	}
	c.Flags().StringSliceVar(&o.Members, "members", nil, "who may contribute, in the order of their turns (default: all members, by name)")
	c.Flags().IntVar(&o.Contributors, "contributors", 0, "fewest distinct members in each phase (default: all but one, at least 2; in a demo 1)")
	c.Flags().DurationVar(&turn, "turn", time.Hour, "how long a member has for its contribution, like 30m")
	c.Flags().DurationVar(&delay, "beacon-delay", time.Minute, "from the end of a phase to the announced time of its beacon")
	return c
}

func (a *app) ceremonyStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the ceremonies: whose turn it is, who contributed, what was refused", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var found items[api.Ceremony]
			if err := client.get(cmd.Context(), "/v1/ceremony", &found); err != nil {
				return fmt.Errorf("getting the ceremonies: %w", err)
			}
			return a.print(found.Items, func(w io.Writer) {
				if len(found.Items) == 0 {
					fmt.Fprintln(w, "No ceremony is known here.\nNext: grille ceremony open, at one gateway")
				}
				for _, c := range found.Items {
					describeCeremony(w, c)
				}
			})
		},
	}
}

func (a *app) printCeremony(c api.Ceremony, next string) error {
	return a.print(c, func(w io.Writer) {
		describeCeremony(w, c)
		fmt.Fprintln(w, next)
	})
}

// describeCeremony writes a ceremony for people.
func describeCeremony(w io.Writer, c api.Ceremony) {
	fmt.Fprintf(w, "Ceremony %.12s of %s (%s): %s\n", c.ID, c.Coordinator, c.Kind, ceremonyState(c))
	facts(w, "id", c.ID, "circuit", c.Circuit, "opened", c.Opened, "contributors", fmt.Sprintf("at least %d of %d in each phase", c.Contributors, len(c.Members)),
		"transcript", c.Transcript, "verifying key", c.VerifyingKey, "waiting", strings.Join(c.Waiting, ", "), "here", hereText(c.Here), "fault", c.Fault,
		"folder", c.Here.Folder)
	var rows [][]string
	for _, m := range c.Members {
		rows = append(rows, []string{m.Member, phaseText(c, m, 1), phaseText(c, m, 2)})
	}
	table(w, []string{"MEMBER", "PHASE 1", "PHASE 2"}, rows)
}

func ceremonyState(c api.Ceremony) string {
	at := fmt.Sprintf("phase %d, ", c.Phase)
	switch c.State {
	case "turn":
		return at + "turn of " + c.Turn + " until " + c.Until
	case "checking":
		return at + "verifying the contribution of " + c.Turn
	case "open":
		return at + "waiting for who was passed over"
	case "beacon":
		return at + "closed, its beacon comes after " + c.Until
	case "sealing":
		return at + "sealing"
	}
	return "sealed"
}

func hereText(h api.CeremonyHere) string {
	var parts []string
	for _, p := range []string{h.Verified, strings.TrimSpace(h.Task + ": " + h.Stage), h.Fault} {
		if p != "" && p != ":" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "; ")
}

// phaseText says what a member did in a phase: contributed, or why it was passed over, as often as it was.
func phaseText(c api.Ceremony, m api.CeremonyMember, phase int) string {
	var parts []string
	for _, t := range m.Turns {
		if t.Phase != phase {
			continue
		}
		switch t.Reason {
		case "":
			parts = append(parts, "contributed "+t.Time)
		case "absent":
			parts = append(parts, "absent")
		default:
			parts = append(parts, "refused ("+t.Reason+")")
		}
	}
	if c.Turn == m.Member && c.Phase == phase {
		parts = append(parts, "now")
	}
	return strings.Join(parts, ", ")
}

func (a *app) ceremonyContribute() *cobra.Command {
	var r ceremonyRequest
	var off offline
	c := &cobra.Command{
		Use: "contribute", Short: "Contribute to both phases when this member's turns come", Args: cobra.NoArgs,
		Example: `  grille ceremony contribute
  grille ceremony contribute --offline task.bin --key query.key --member GOV/tax -f contribution.bin`,
		Long: `Waits for this member's turns, fetches what the others did, contributes with secrets from this machine's random numbers, and sends
what is public of it to the coordinator. The secrets are in memory only. If the command is interrupted the gateway goes on; if the gateway
is, run the command again: the contribution is made anew, with new secrets.

With --offline, on a machine without a network: FILE is what grille ceremony export wrote at the gateway, --key a copy of keys/query.key.
The result goes back to the gateway with grille ceremony submit.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if off.task != "" {
				return a.contributeOffline(cmd.Context(), off)
			}
			if off.key != "" || off.member != "" || off.out != "" {
				return usagef("--key, --member and -f go with --offline")
			}
			return a.ceremonyTask(cmd.Context(), "/v1/ceremony/contribute", r, "contributing", a.contributed(r.Phase))
		},
	}
	c.Flags().StringVar(&r.Ceremony, "ceremony", "", "which ceremony, as status shows it (default: the only one that is open)")
	c.Flags().IntVar(&r.Phase, "phase", 0, "only this phase, 1 or 2 (default: both)")
	off.flags(c)
	return c
}

func (a *app) ceremonySeal() *cobra.Command {
	var r ceremonyRequest
	c := &cobra.Command{
		Use: "seal", Short: "As coordinator, wait no longer for those who are not there", Args: cobra.NoArgs,
		Long: `A phase closes and is sealed by itself. This command passes over at once whoever is not there, and seals with the checkpoints that
there are if they are of a quorum of the logs. It changes nothing about what is needed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var found api.Ceremony
			if err := client.post(cmd.Context(), "/v1/ceremony/seal", r, &found); err != nil {
				return fmt.Errorf("sealing: %w", err)
			}
			return a.printCeremony(found, "Next: grille ceremony status")
		},
	}
	c.Flags().StringVar(&r.Ceremony, "ceremony", "", "which ceremony (default: the only one that this gateway coordinates)")
	return c
}

// ceremonyTask starts something at the gateway that takes a while, and shows how it goes on.
func (a *app) ceremonyTask(ctx context.Context, path string, r ceremonyRequest, what string, done func(api.Ceremony) bool) error {
	gateway, err := a.client()
	if err != nil {
		return err
	}
	var c api.Ceremony
	if err := gateway.post(ctx, path, r, &c); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	r.Ceremony = c.ID
	return a.follow(ctx, gateway, c, what, done, func(now *api.Ceremony) error { return gateway.post(ctx, path, r, now) })
}

// contributed tells whether this gateway's member contributed to a phase, or (0) to both.
func (a *app) contributed(phase int) func(api.Ceremony) bool {
	settings, err := config.Load(config.Folder(a.dir))
	return func(c api.Ceremony) bool {
		i := slices.IndexFunc(c.Members, func(m api.CeremonyMember) bool { return m.Member == settings.Member })
		if err != nil || i < 0 {
			return true
		}
		for n, did := range c.Members[i].Phases {
			if (phase == 0 || phase == n+1) && did != "contributed" {
				return false
			}
		}
		return true
	}
}

// follow shows how a task of the gateway goes on, and ends when it is done. A gateway that was restarted forgot it: again starts it anew.
func (a *app) follow(ctx context.Context, gateway *gatewayClient, c api.Ceremony, what string, done func(api.Ceremony) bool,
	again func(*api.Ceremony) error) error {
	said, away := "", time.Time{}
	for c.Here.Task != "" || c.Here.Fault == "" && !done(c) {
		if line := fmt.Sprintf("%s: %s", c.Here.Task, c.Here.Stage); line != said && c.Here.Stage != "" {
			a.stage(line)
			said = line
		}
		select {
		case <-time.After(ceremonyPoll):
		case <-ctx.Done():
			return hint(fmt.Errorf("%s: %w; the gateway goes on with it", what, ctx.Err()), "grille ceremony status")
		}
		var now api.Ceremony
		err := gateway.get(ctx, "/v1/ceremony/"+c.ID, &now)
		if errors.Is(err, client.ErrUnreachable) {
			if away.IsZero() {
				away = time.Now()
			}
			if time.Since(away) < ceremonyAway {
				continue
			}
		}
		if err == nil && now.Here.Task == "" && now.Here.Fault == "" && !done(now) {
			err = again(&now)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		c, away = now, time.Time{}
	}
	if c.Here.Fault != "" {
		return hint(fmt.Errorf("%s: %s", what, c.Here.Fault), "grille ceremony status")
	}
	return a.printCeremony(c, nextOf(c))
}

// nextOf is the next command after a task is done.
func nextOf(c api.Ceremony) string {
	switch {
	case c.State == "done" && c.Here.Verified != "":
		return "Next: when a quorum of the logs holds the keys, the network's proposer runs grille network change --ceremony " + c.ID + " -f next.json"
	case c.State == "done":
		return "Next: grille ceremony verify"
	}
	return "Next: grille ceremony status, and grille ceremony verify when both phases are sealed"
}
