package userio_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// sample returns a file of testdata, which another program wrote.
func sample(t *testing.T, name string) string {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(file)
}

func TestImportReadsAWorkbookThatLibreOfficeSaved(t *testing.T) {
	manager := newManager(t)
	report := importText(t, manager, sample(t, "libreoffice.xlsx"), userio.ImportOptions{})
	require.Empty(t, report.Rejections)
	require.EqualValues(t, 2, report.Created)
}

func TestNoGuessSaysWhoARowIsAbout(t *testing.T) {
	t.Run("the company of four people is not their login", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, sample(t, "salesforce-e164.csv"), userio.ImportOptions{})
		require.Empty(t, report.Rejections)
		require.EqualValues(t, 4, report.Created)
		bob, err := manager.FindUser(t.Context(), userkit.ByEmail("bob@acme.example"))
		require.NoError(t, err)
		require.Equal(t, "Bob Ray", bob.Name)
		require.Empty(t, bob.Login)
	})
	t.Run("a file without anything else is refused, with what was found", func(t *testing.T) {
		for _, heading := range []string{"User name", "external id", "E-mail address", "user_id"} {
			refused(t, heading+",name\nann,Ann\n", userio.ImportOptions{}, userkit.CodeRequired, heading)
			refused(t, heading+",name\nann,Ann\n", userio.ImportOptions{}, userkit.CodeRequired, "traffic_limit")
			refused(t, `{"`+heading+`":"ann","name":"Ann"}`, userio.ImportOptions{}, userkit.CodeRequired, heading)
		}
		refused(t, "username,name\nann,Ann\n", userio.ImportOptions{Key: "login"}, userkit.CodeRequired, "username")
	})
	t.Run("rows about one user are reported", func(t *testing.T) {
		for _, file := range []string{"login,name\nann,Ann\nANN,Other\n", `{"login":"ann","name":"Ann"}` + "\n" + `{"login":"ann","name":"Other"}`} {
			manager := newManager(t)
			report := importText(t, manager, file, userio.ImportOptions{})
			require.EqualValues(t, 1, report.Created)
			require.EqualValues(t, 1, report.Rejected)
			require.Equal(t, userkit.CodeLoginTaken, userkit.ErrorCode(report.Rejections[0].Err))
			require.Equal(t, "Ann", login(t, manager, "ann").Name)
		}
		report := importText(t, newManager(t), "extref,login,name\n1,ann,Ann\n,ann,Other\n", userio.ImportOptions{})
		require.Equal(t, []string{"3 login login_taken"}, lines(report))
	})
}

func TestImportReadsWhoMayLogIn(t *testing.T) {
	for _, test := range []struct {
		heading, value string
		want           userkit.Status
	}{
		{"enabled", "false", userkit.StatusDisabled}, {"Enabled", "no", userkit.StatusDisabled}, {"enabled", "1", userkit.StatusActive},
		{"accountEnabled", "False", userkit.StatusDisabled}, {"is_active", "0", userkit.StatusDisabled}, {"active", "true", userkit.StatusActive},
		{"blocked", "true", userkit.StatusDisabled}, {"disabled", "Yes", userkit.StatusDisabled}, {"disabled", "false", userkit.StatusActive},
		{"is_suspended", "1", userkit.StatusDisabled}, {"banned", "true", userkit.StatusDisabled}, {"blocked_at", "2020-01-02 03:04:05", userkit.StatusDisabled},
		{"status", "SUSPENDED", userkit.StatusDisabled}, {"status", "DEPROVISIONED", userkit.StatusDisabled}, {"Status", "Locked out", userkit.StatusDisabled},
		{"status", "ACTIVE", userkit.StatusActive}, {"status", "STAGED", userkit.StatusInvited}, {"account status", "Blocked", userkit.StatusDisabled},
	} {
		t.Run(test.heading+" "+test.value, func(t *testing.T) {
			for _, file := range []string{"login," + test.heading + "\nann," + test.value + "\n", fmt.Sprintf(`{"login":"ann",%q:%q}`, test.heading, test.value)} {
				manager := newManager(t)
				report := importText(t, manager, file, userio.ImportOptions{})
				require.Empty(t, report.Rejections)
				require.Equal(t, test.want, login(t, manager, "ann").Status)
				require.Empty(t, login(t, manager, "ann").Attributes)
			}
		})
	}
	t.Run("of two columns the stricter one counts", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, "login,status,blocked,enabled\nann,active,true,true\nbob,active,false,true\n", userio.ImportOptions{})
		require.Equal(t, userkit.StatusDisabled, login(t, manager, "ann").Status)
		require.Equal(t, userkit.StatusActive, login(t, manager, "bob").Status)
	})
	t.Run("a status that nobody knows keeps the row out", func(t *testing.T) {
		report := importText(t, newManager(t), "login,status\nann,verzaubert\n", userio.ImportOptions{})
		require.Equal(t, []string{"2 status unknown_value"}, lines(report))
	})
}

func TestImportReadsWhoMayLogInInAnySpelling(t *testing.T) {
	for _, test := range []struct{ heading, disabled, active string }{
		{"Active?", "no", "yes"}, {"Enabled (yes/no)", "N", "Y"}, {"Status [READ ONLY]", "Suspended", "Active"}, {"Account enabled*", "FALSE", "TRUE"},
		{"Gesperrt", "ja", "nein"}, {"Aktiv", "nein", "ja"}, {"Blockiert?", "WAHR", "FALSCH"}, {"bloqué", "oui", "non"}, {"Actif", "FAUX", "VRAI"},
		{"bloqueado", "sí", "no"}, {"activo", "no", "si"}, {"Заблокирован", "да", "нет"}, {"Активен", "нет", "да"}, {"Zablokowany", "tak", "nie"},
		{"禁用", "是", "否"}, {"有効", "いいえ", "はい"}, {"blocked", "x", "☐"}, {"enabled", "☐", "✓"}, {"disabled", "t", "f"}, {"disabled", "TRUE()", "FALSE()"},
		{"accountNonLocked", "false", "true"}, {"account_non_expired", "false", "true"}, {"Block sign in", "Yes", "No"},
		{"userAccountControl", "514", "512"}, {"userAccountControl", "66050", "66048"}, {"Banned until", "9999-01-01", "2001-01-01"}, {"lockout_end", "9999-12-31 00:00:00", "2001-01-01"},
		{"state", "suspended", "active"}, {"Статус", "Заблокирован", "Активен"}, {"estado", "bloqueado", "activo"}, {"status", "Gesperrt", "Aktiv"}, {"status", "suspendu", "actif"},
		{"Is Active", "заблокирован", "Активен"}, {"blocked", "1.0", "0.0"}, {"is_active", "0.0", "1.0"}, {"userAccountControl", "514.0", "512.0"},
		{"banned_until", "infinity", "-infinity"}, {"blocked until", "forever", "0"}, {"lockout_end", "9999-12-31", "0000-00-00 00:00:00"}, {"deleted_at", "1420070400", "0001-01-01T00:00:00Z"},
	} {
		t.Run(test.heading+" "+test.disabled, func(t *testing.T) {
			manager := newManager(t)
			report := importText(t, manager, "login;"+test.heading+"\nann;"+test.disabled+"\nbob;"+test.active+"\n", userio.ImportOptions{})
			require.Empty(t, report.Rejections)
			require.Equal(t, userkit.StatusDisabled, login(t, manager, "ann").Status)
			require.Equal(t, userkit.StatusActive, login(t, manager, "bob").Status)
			require.Empty(t, login(t, manager, "ann").Attributes)
		})
	}
	t.Run("inactive in other languages", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, "login,status\nann,inaktiv\nbob,Не активен\n", userio.ImportOptions{})
		require.Equal(t, userkit.StatusInactive, login(t, manager, "ann").Status)
		require.Equal(t, userkit.StatusInactive, login(t, manager, "bob").Status)
	})
	t.Run("a state of another kind is an attribute", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, "login,state,user access,condition\nann,CA,yes,active\nbob,NY,no,broken\n", userio.ImportOptions{})
		require.Equal(t, userkit.Attributes{"state": "CA", "user_access": "yes", "condition": "active"}, login(t, manager, "ann").Attributes)
	})
	t.Run("what is in order says nothing of a status", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, "login,state,condition\nann,OK,normal\n", userio.ImportOptions{}) // of Oklahoma
		require.Equal(t, userkit.Attributes{"state": "OK", "condition": "normal"}, login(t, manager, "ann").Attributes)
		importText(t, manager, "login,state\nbob,OK\ncid,blocked\n", userio.ImportOptions{})
		require.Equal(t, userkit.StatusActive, login(t, manager, "bob").Status)
		require.Equal(t, userkit.StatusDisabled, login(t, manager, "cid").Status)
	})
	t.Run("a second status counts too", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, "login,status,account status\nann,active,suspended\nbob,active,active\n", userio.ImportOptions{})
		require.Equal(t, userkit.StatusDisabled, login(t, manager, "ann").Status)
		require.Equal(t, userkit.StatusActive, login(t, manager, "bob").Status)
	})
	t.Run("what cannot be read lets nobody in", func(t *testing.T) {
		for _, file := range []string{"login,enabled\nann,n/a\n", "login,blocked\nann,perhaps\n", "login,disabled\nann,active\n", "login,blocked until\nann,soon\n", "login,userAccountControl\nann,x\n",
			"login,blocked_until\nann,20991231\n", "login,banned_until\nann,NaN\n", "login,deleted_at\nann,20200101\n", "login,locked\nann,Infinity\n", "login,enabled\nann,NaN\n", "login,active\nann,-1\n"} {
			manager := newManager(t)
			report := importText(t, manager, file, userio.ImportOptions{})
			require.EqualValues(t, 1, report.Rejected, file)
		}
		report := importText(t, newManager(t), "login,active\nann,17\nbob,23\n", userio.ImportOptions{})
		require.Equal(t, []string{"login: login", "active: attributes.active"}, uses(report), "a count says nothing of who may log in")
	})
	t.Run("nor for longer than it says", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, "login,expires\nann,never\nbob,31.12.2026\ncid,some day\n", userio.ImportOptions{})
		require.Equal(t, []string{"4 expires bad_format"}, lines(report))
		require.True(t, login(t, manager, "ann").Account.ExpiresAt.IsZero())
		require.Equal(t, "2026-12-31", login(t, manager, "bob").Account.ExpiresAt.Format("2006-01-02"))
		report = importText(t, manager, "login,expires\ndan,12/31/2026\n", userio.ImportOptions{})
		require.EqualValues(t, 1, report.Rejected)
	})
}

func TestImportReadsTextsThatProgramsGuardFromSpreadsheets(t *testing.T) {
	manager := newManager(t)
	report := importText(t, manager, "login,extref,phone\nann,\"=\"\"007\"\"\",\"=\"\"+375291234567\"\"\"\nbob,'8,'+375291234568\n", userio.ImportOptions{})
	require.Empty(t, report.Rejections)
	require.Equal(t, "007", login(t, manager, "ann").ExtRef)
	require.Equal(t, "+375291234567", login(t, manager, "ann").Phone)
	require.Equal(t, "+375291234568", login(t, manager, "bob").Phone)
}

func TestImportKeepsNoPasswords(t *testing.T) {
	for _, heading := range []string{
		"password", "Password", "user_pass", "passwordHash", "password_hash", "salt", "passwordSalt", "credentials", "encrypted_password", "pwd", "Passwort",
		"client_secret", "Password [Required]", "hashed_pwd", "пароль", "totp", "apiKey", "pass",
		"access_tokens", "apiKeys", "hasło", "hasloUzytkownika", "user_haslo", "mot_de_passe", "Pass-Word", "totp", "TOTPSecret", "reset_token",
		"Lösenord", "heslo", "salasana", "jelszó", "şifre", "mật khẩu", "clave", "סיסמה", "token", "apiToken", "PIN code", "nthash", "security question", "ha1",
	} {
		manager := newManager(t)
		report := importText(t, manager, "login,"+heading+"\nann,hunter2\n", userio.ImportOptions{})
		require.Equal(t, []string{"login: login", heading + "! secret"}, uses(report))
		require.Empty(t, login(t, manager, "ann").Attributes, heading)
	}
	manager := newManager(t)
	for _, hash := range []string{
		"$2y$10$abcdefghijklmnopqrstuv", "$P$Babcdefghijklmnopqrstuvwxyz01234", "$argon2id$v=19$m=65536,t=3", "{SSHA}MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=", "pbkdf2_sha256$260000$abc$def",
	} {
		manager := newManager(t)
		report := importText(t, manager, "login;door\nann;\nbob;"+hash+"\n", userio.ImportOptions{})
		require.Equal(t, []string{"login: login", "door! secret"}, uses(report), "by its look")
	}
	importText(t, manager, "login,passport,compass\nann,MP1,north\n", userio.ImportOptions{})
	require.Len(t, login(t, manager, "ann").Attributes, 2)
	for _, heading := range []string{ // whose letters alone look like a word for a secret
		"has_logged_in", "hasLoyaltyCard", "matches_lost", "pages loaded", "chosen_handle", "paid_tokens", "tot_points", "secretary", "user_passport", "hash tag",
		"standard_bearer", "token_balance", "api_key_count", "password_changed_at", "git_sha", "avatar_md5",
	} {
		manager := newManager(t)
		importText(t, manager, "login,"+heading+"\nann,d41d8cd98f00b204e9800998ecf8427e\n", userio.ImportOptions{})
		require.Len(t, login(t, manager, "ann").Attributes, 1, heading)
	}
	hash := "$2y$10$abcdefghijklmnopqrstuv"
	other := newManager(t)
	importText(t, other, "login;bio;more\nann;climber;\"{\"\"auth\"\":[\"\""+hash+"\"\"],\"\"a\"\":1}\"\nbob;runner;\" {\"\"pwd\"\":1,\"\"b\"\":2}\"\ncid;"+hash+";\n", userio.ImportOptions{})
	require.Equal(t, userkit.Attributes{"bio": "climber", "more": `{"a":1,"auth":[null]}`}, login(t, other, "ann").Attributes)
	require.Equal(t, userkit.Attributes{"bio": "runner", "more": `{"b":2}`}, login(t, other, "bob").Attributes)
	require.Empty(t, login(t, other, "cid").Attributes, "one hash costs no column")
	importText(t, manager, `{"login":"bob","meta":{"plan":"gold","password":"x","deep":[{"salt":"y","a":1}]},"more":"{\"pwd\":1,\"b\":2}"}`, userio.ImportOptions{})
	require.Equal(t, userkit.Attributes{"meta": map[string]any{"plan": "gold", "deep": []any{map[string]any{"a": int64(1)}}}, "more": `{"b":2}`}, login(t, manager, "bob").Attributes)
	importText(t, manager, "login,password\ncat,hunter2\n", userio.ImportOptions{Columns: map[string]string{"password": "attributes.old"}})
	require.Equal(t, userkit.Attributes{"old": "hunter2"}, login(t, manager, "cat").Attributes)
}

func TestAColumnThatCannotBeUsedCostsTheColumn(t *testing.T) {
	manager := newManager(t)
	report := importText(t, manager, "login,id,status,country,kind,registered_at\nann,1,0,United Kingdom,Member,never\nbob,2,0,Côte d'Ivoire,Guest,\n", userio.ImportOptions{})
	require.Empty(t, report.Rejections)
	require.Equal(t, []string{
		"login: login", "id: attributes.id", "status: attributes.status", "country: country", "kind: attributes.kind", "registered_at: attributes.registered_at",
	}, uses(report))
	require.Equal(t, "extref", report.Columns[1].Suggested)
	require.Contains(t, report.Columns[4].Note, "not kind")
	require.Equal(t, "GB", login(t, manager, "ann").Country)
	require.Equal(t, "CI", login(t, manager, "bob").Country)

	t.Run("countries by name", func(t *testing.T) {
		for name, code := range map[string]string{
			"Germany": "DE", "Deutschland": "DE", "USA": "US", "UK": "GB", "Belarus": "BY", "Беларусь": "BY", "Россия": "RU", "Korea, Republic of": "KR", "Czech Republic": "CZ",
			"GBR": "GB", "Viet Nam": "VN", "the Netherlands": "NL", "Bosnia and Herzegovina": "BA", "日本": "JP", "Türkiye": "TR", "fr": "FR", "united states": "US", "St. Lucia": "LC",
		} {
			manager := newManager(t)
			report := importText(t, manager, "login;country\nann;"+name+"\n", userio.ImportOptions{})
			require.Empty(t, report.Rejections, name)
			require.Equal(t, code, login(t, manager, "ann").Country, name)
		}
	})
	t.Run("short rows are padded", func(t *testing.T) {
		report := importText(t, newManager(t), sample(t, "short-rows.csv"), userio.ImportOptions{})
		require.Empty(t, report.Rejections)
		require.EqualValues(t, 3, report.Created)
	})
	t.Run("first and last name make a name", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, "login,Last Name,firstName,Middle Name\nann,Lee,Ann,\nbob,Ray,Bob,J.\n", userio.ImportOptions{})
		require.Equal(t, "Ann Lee", login(t, manager, "ann").Name)
		require.Equal(t, "Bob J. Ray", login(t, manager, "bob").Name)
		importText(t, manager, "login,given name,surname,name\ncat,Cat,Poe,Kitty\ndan,Dan,Roe,\n", userio.ImportOptions{})
		require.Equal(t, "Kitty", login(t, manager, "cat").Name)
		require.Equal(t, "Dan Roe", login(t, manager, "dan").Name)
	})
	t.Run("a number that a spreadsheet has rounded names nobody", func(t *testing.T) {
		report := importText(t, newManager(t), "login,extref\nann,1.15123E+20\nbob,7\n", userio.ImportOptions{Key: "login"})
		require.Equal(t, []string{"2 extref bad_format"}, lines(report))
	})
}

func TestImportReadsJSONAsItComes(t *testing.T) {
	for name, file := range map[string]string{
		"a list":                  `[{"login":"ann","name":"Ann"},{"login":"bob","name":"B]}"}]`,
		"a list in several lines": "\n[\n  {\"login\": \"ann\", \"name\": \"Ann\"},\n  {\"login\": \"bob\", \"name\": \"B]}\"}\n]\n",
		"a list, pretty":          "[\n  {\n    \"login\": \"ann\",\n    \"name\": \"Ann\"\n  },\n  {\n    \"login\": \"bob\",\n    \"name\": \"B]}\"\n  }\n]",
		"objects, pretty":         "{\n  \"login\": \"ann\",\n  \"name\": \"Ann\"\n}\n{\n  \"login\": \"bob\",\n  \"name\": \"B]}\"\n}\n",
		"a list in an object":     `{"users":[{"login":"ann","name":"Ann"},{"login":"bob","name":"B]}"}],"next":1}`,
		"a list behind others":    "{\n \"realm\": \"x\",\n \"users\": [ {\"login\":\"ann\",\"name\":\"Ann\"},\n{\"login\":\"bob\",\"name\":\"B]}\"}]}",
	} {
		t.Run(name, func(t *testing.T) {
			manager := newManager(t)
			report := importText(t, manager, file, userio.ImportOptions{})
			require.Empty(t, report.Rejections)
			require.EqualValues(t, 2, report.Created)
			require.Equal(t, "Ann", login(t, manager, "ann").Name)
			require.Equal(t, "B]}", login(t, manager, "bob").Name)
		})
	}
	t.Run("a list that is cut off tells where", func(t *testing.T) {
		manager := newManager(t)
		report, err := userio.Import(t.Context(), manager, strings.NewReader("[{\"login\":\"ann\"},\n{\"login\":\"bo"), userio.ImportOptions{})
		require.ErrorContains(t, err, "line 2")
		require.EqualValues(t, 1, report.Created)
	})
	t.Run("numbers keep their digits", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, sample(t, "large-ids.ndjson"), userio.ImportOptions{})
		require.EqualValues(t, 2, report.Created)
		_, err := manager.FindUser(t.Context(), userkit.ByExtRef("115123456789012345678"))
		require.NoError(t, err)
		importText(t, manager, `{"login":"ann","big":115123456789012345678,"in":{"big":[9223372036854775808]}}`, userio.ImportOptions{})
		require.Equal(t, userkit.Attributes{"big": "115123456789012345678", "in": map[string]any{"big": []any{"9223372036854775808"}}}, login(t, manager, "ann").Attributes)
	})
	t.Run("half of a character is refused", func(t *testing.T) {
		for _, text := range []string{`\ud800`, `\udc00`, `\ud800\ud800`, `\udc00\ud800`, `a\ud83dx`, `\ud83d\n`} {
			report := importText(t, newManager(t), `{"login":"ann","name":"`+text+`"}`, userio.ImportOptions{})
			require.Equal(t, []string{"1  bad_text"}, lines(report), text)
		}
		manager := newManager(t)
		importText(t, manager, `{"login":"ann","name":"\ud83d\ude00 \\ud800"}`, userio.ImportOptions{})
		require.Equal(t, `😀 \ud800`, login(t, manager, "ann").Name)
	})
	t.Run("members of objects by their path", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, `{"id":"00u1","profile":{"login":"ann","name":{"given":"Ann","family":"Lee"},"city":"Minsk"},"emails":[{"value":"a@x.org"}]}`, userio.ImportOptions{Columns: map[string]string{
			"id": "extref", "profile.login": "login", "profile.name.given": "name.first", "profile.name.family": "name.last", "emails.0.value": "email", "emails": "-",
		}})
		ann := login(t, manager, "ann")
		require.Equal(t, "00u1 Ann Lee a@x.org", ann.ExtRef+" "+ann.Name+" "+ann.Email)
		require.Equal(t, userkit.Attributes{"profile": map[string]any{"city": "Minsk"}}, ann.Attributes)
	})
}

func TestPresetsKnowTheFilesOfOtherSystems(t *testing.T) {
	for _, test := range []struct {
		preset, file string
		email        string
		want         string // login, name, extref, status
	}{
		{"auth0", sample(t, "auth0.ndjson"), "bob@example.org", " Bob google-oauth2|115 disabled"},
		{"firebase", sample(t, "firebase-users.ndjson"), "bob@example.org", " Bob Zt7 disabled"},
		{"okta", sample(t, "okta.csv"), "cyd@example.org", "cyd@example.org Cyd Poe 00u1abcd2EFGHIJK5d9 disabled"},
		{"wordpress", sample(t, "wordpress.csv"), "ada@example.org", "ada Ada Lovelace 2 invited"},
		{"entra", sample(t, "azure-download.csv"), "ada@contoso.example", "ada@contoso.example Ada Lovelace 2b2e3d14-9b1b-4b5b-9f50-6a3a6e3d0c11 active"},
		{"salesforce", sample(t, "salesforce-e164.csv"), "ada@acme.example", " Ada Lovelace 0035g00000AAAAA invited"},
		{"keycloak", `{"realm":"x","users":[{"id":"ab-1","createdTimestamp":1600000000000,"username":"ann","enabled":false,"emailVerified":true,"firstName":"Ann","lastName":"Lee","email":"ann@example.org","credentials":[{"secretData":"x"}]}]}`, "ann@example.org", "ann Ann Lee ab-1 disabled"},
		{"google", "First Name [Required],Last Name [Required],Email Address [Required],Password [Required],Status [READ ONLY],Mobile Phone\nAnn,Lee,ann@example.org,****,Suspended,\n", "ann@example.org", " Ann Lee  disabled"},
		{"traccar", `[{"id":1,"name":"Ann","login":"","email":"ann@example.org","phone":"","administrator":false,"disabled":true,"expirationTime":null,"deviceLimit":-1}]`, "ann@example.org", " Ann 1 disabled"},
		{"stripe", "id,Description,Email,Name,Created (UTC),Delinquent,Currency\ncus_1,,ann@example.org,Ann,2020-01-02 03:04,false,usd\n", "ann@example.org", " Ann cus_1 invited"},
		{"hubspot", "Record ID,First Name,Last Name,Email,Phone Number,Contact owner,Lead Status,Create Date\n51,Ann,Lee,ann@example.org,,,New,2020-01-02 03:04\n", "ann@example.org", " Ann Lee 51 invited"},
		{"mailchimp", "Email Address,First Name,Last Name,MEMBER_RATING,OPTIN_TIME,CC,LEID\nann@example.org,Ann,Lee,2,2020-01-02 03:04:05,DE,77\n", "ann@example.org", " Ann Lee 77 invited"},
		{"kratos", `[{"id":"9f42-1","schema_id":"default","state":"inactive","traits":{"email":"ann@example.org","name":{"first":"Ann","last":"Lee"}},"credentials":{"password":{}},"created_at":"2020-01-02T03:04:05Z"}]`, "ann@example.org", " Ann Lee 9f42-1 inactive"},
	} {
		t.Run(test.preset, func(t *testing.T) {
			manager := newManager(t)
			found, err := userio.Inspect(strings.NewReader(test.file), userio.ImportOptions{Preset: test.preset})
			require.NoError(t, err)
			require.Empty(t, found.Problem)
			report := importText(t, manager, test.file, userio.ImportOptions{Preset: test.preset})
			require.Empty(t, report.Rejections)
			user, err := manager.FindUser(t.Context(), userkit.ByEmail(test.email))
			require.NoError(t, err)
			require.Equal(t, test.want, fmt.Sprintf("%s %s %s %s", user.Login, user.Name, user.ExtRef, user.Status))

			again, err := userio.Inspect(strings.NewReader(test.file), userio.ImportOptions{Columns: found.Mapping})
			require.NoError(t, err)
			require.Equal(t, found.Mapping, again.Mapping, "what was confirmed is what is done")
		})
	}
	require.Len(t, userio.Presets(), 13)
}

func TestInspectSaysWhatIsUnsure(t *testing.T) {
	found, err := userio.Inspect(strings.NewReader(sample(t, "wordpress.csv")), userio.ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, userio.CSV, found.Format)
	require.Contains(t, found.Problem, "user_login")
	require.Equal(t, "extref", found.Columns[0].Suggested)
	require.Equal(t, "login", found.Columns[1].Field)
	require.True(t, found.Columns[1].Guessed)
	require.Empty(t, found.Samples[0][2], "a password is not shown")
}
