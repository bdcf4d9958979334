package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/grille-gateway/grille/node/config"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// spoil puts the proof of knowledge of alpha in the place of that of tau, as somebody might who did not make the contribution, and has the
// member sign it.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: spoil IN KEY OUT")
	}
	circuit, err := rules.Statement()
	ts.Check(err)
	key, err := config.LoadQuery(ts.MkAbs(args[1]))
	ts.Check(err)
	made, err := rules.ReadContribution(bytes.NewReader([]byte(ts.ReadFile(args[0]))), circuit)
	ts.Check(err)
	const proof = 48 + 96 // in G1 and in G2
	copy(made.Payload[:proof], made.Payload[proof:2*proof])
	var step rules.Step
	ts.Check(json.Unmarshal([]byte(made.Step.Body), &step))
	sum := sha256.Sum256(made.Payload)
	step.Payload = hex.EncodeToString(sum[:])
	body, err := json.Marshal(step)
	ts.Check(err)
	made.Step = rules.Signed{Body: string(body),
		Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(key, append([]byte(rules.LabelStep+"\n"), body...)))}
	var out bytes.Buffer
	_, err = made.WriteTo(&out)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), out.Bytes(), 0o600))
}
