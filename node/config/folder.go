package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Folder is the path of one gateway's folder:
//
//	grille.yaml    settings
//	network.json   the adopted network configuration
//	card.json      this member's card, for the other members
//	tlog.crt       certificate of the public side, for those who are to trust it, unless tlog.tls_certificate points elsewhere
//	keys/          0700: log.key mirror.key transport.key query.key witness.key tlog.key (PKCS #8 PEM), vault.keyset,
//	               receipts.secret, api.token; each 0600. After a rotation also ROLE.next.key and the old ROLE.key.1, .2, ...
//	ledger/        the logs this member replicates, and its signer's state
//	data/          the datasets' epochs, sealed
//	journal/       receipts and budgets
//	claims/        who has claimed in this member's scopes, without names; the keys of open scopes, sealed
//	ceremony/      own.json: what this member contributed to ceremonies; a folder for each ceremony, with its transcript and
//	               what was contributed; no secrets
//	prover/        the circuits' keys, unless prover.keys points elsewhere
//
// ledger/, claims/ and the keys/*.key belong in no backup that is ever restored (DESIGN section 7); data/ and journal/ do, and vault.keyset
// and receipts.secret in another one.
type Folder string

func (f Folder) Config() string  { return f.Path("grille.yaml") }
func (f Folder) Card() string    { return f.Path("card.json") }
func (f Folder) Keys() string    { return f.Path("keys") }
func (f Folder) Ledger() string  { return f.Path("ledger") }
func (f Folder) Data() string    { return f.Path("data") }
func (f Folder) Journal() string { return f.Path("journal") }
func (f Folder) Claims() string  { return f.Path("claims") }

// Ceremonies holds a folder for each key ceremony, named for it.
func (f Folder) Ceremonies() string { return f.Path("ceremony") }

// Contributions is the list of this member's contributions to ceremonies.
func (f Folder) Contributions() string  { return f.Path("ceremony/own.json") }
func (f Folder) Token() string          { return filepath.Join(f.Keys(), "api.token") }
func (f Folder) Vault() string          { return filepath.Join(f.Keys(), "vault.keyset") }
func (f Folder) Certificate() string    { return f.Path("tlog.crt") }
func (f Folder) CertificateKey() string { return filepath.Join(f.Keys(), "tlog.key") }
func (f Folder) Receipts() string {
	return filepath.Join(f.Keys(), "receipts.secret")
}

// Key is the file of one of the signing keys.
func (f Folder) Key(r Role) string { return filepath.Join(f.Keys(), string(r)+".key") }

// NextKey is the file of a signing key that is to replace the one in Key, once the network's configuration names it.
func (f Folder) NextKey(r Role) string { return filepath.Join(f.Keys(), string(r)+".next.key") }

// OldKey is the file in which the nth key of a role is kept when another has replaced it.
func (f Folder) OldKey(r Role, n int) string {
	return filepath.Join(f.Keys(), fmt.Sprintf("%s.key.%d", r, n))
}

// Create makes the folder and its parts where they are missing, readable by the owner only.
func (f Folder) Create() error {
	for _, dir := range []string{string(f), f.Keys(), f.Ledger(), f.Data(), f.Journal()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the gateway's folder: %w", err)
		}
	}
	return CheckPrivate(f.Keys())
}

// ErrExposed says that secrets can be read by others than their owner.
var ErrExposed = errors.New("readable by others")

// CheckPrivate refuses a file or folder that group or others may use, or that belongs to somebody else.
func CheckPrivate(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("checking permissions: %w", err)
	}
	want := os.FileMode(0o600)
	switch {
	case info.IsDir():
		want = 0o700
	case !info.Mode().IsRegular():
		return fmt.Errorf("checking permissions of %s: %w: it is not a plain file", path, ErrExposed)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has mode %04o: %w; run `chmod %04o %s`", path, mode, ErrExposed, want, path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d: %w; run as that user or `chown` it", path, st.Uid, ErrExposed)
	}
	return nil
}

// WriteNew writes a file that must not exist yet and makes it durable: the content, then its name in the folder.
func WriteNew(path string, data []byte, mode os.FileMode) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close(), syncDir(filepath.Dir(path)))
}

// Replace writes a file in one step: a reader sees the old content or the new, also after a crash.
func Replace(path string, data []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
