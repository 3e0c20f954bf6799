package userio

import (
	"io"
	"maps"
	"slices"

	"github.com/userkit/userkit"
)

// presets map the columns of other systems to fields. Headings that a file does not have are
// ignored.
var presets = map[string]map[string]string{
	"auth0": {
		"user_id": "extref", "email": "email", "email_verified": "email_verified", "name": "name", "username": "login", "phone_number": "phone",
		"blocked": partDisabled, "created_at": "registered_at", "updated_at": "-", "last_login": "-", "identities": "-",
	},
	"firebase": {
		"localId": "extref", "email": "email", "emailVerified": "email_verified", "displayName": "name", "phoneNumber": "phone",
		"disabled": partDisabled, "createdAt": "registered_at", "lastSignedInAt": "-", "passwordHash": "-", "salt": "-", "providerUserInfo": "-",
	},
	"keycloak": {
		"id": "extref", "username": "login", "email": "email", "emailVerified": "email_verified", "firstName": partFirst, "lastName": partLast,
		"enabled": partEnabled, "createdTimestamp": "registered_at", "credentials": "-",
	},
	"okta": {
		"id": "extref", "login": "login", "email": "email", "firstName": partFirst, "middleName": partMiddle, "lastName": partLast, "displayName": "name",
		"mobilePhone": "phone", "countryCode": "country", "status": "status", "created": "registered_at", "lastLogin": "-",
		"profile.login": "login", "profile.email": "email", "profile.firstName": partFirst, "profile.lastName": partLast, "profile.mobilePhone": "phone",
		"profile.countryCode": "country", "profile.displayName": "name", "credentials": "-", "_links": "-",
	},
	"wordpress": {
		"ID": "extref", "user_login": "login", "user_email": "email", "display_name": "name", "first_name": partFirst, "last_name": partLast,
		"user_registered": "registered_at", "user_pass": "-", "user_status": "-", "billing_phone": "phone", "billing_country": "country",
	},
	"entra": {
		"id": "extref", "userPrincipalName": "login", "mail": "email", "displayName": "name", "givenName": partFirst, "surname": partLast,
		"accountEnabled": partEnabled, "mobilePhone": "phone", "country": "country", "createdDateTime": "registered_at", "userType": "attributes.userType",
	},
	"google": {
		"First Name [Required]": partFirst, "Last Name [Required]": partLast, "Email Address [Required]": "email", "Password [Required]": "-",
		"Status [READ ONLY]": "status", "Mobile Phone": "phone", "Last Sign In [READ ONLY]": "-", "Employee ID": "attributes.employee_id",
	},
	"traccar": {
		"id": "extref", "email": "email", "name": "name", "login": "login", "phone": "phone", "disabled": partDisabled, "expirationTime": "expires_at",
		"password": "-", "salt": "-", "administrator": "attributes.administrator", "deviceLimit": "attributes.device_limit",
	},
	"stripe": {
		"id": "extref", "Email": "email", "Name": "name", "Phone": "phone", "Description": "description", "Created (UTC)": "registered_at",
		"Address Country": "country", "Card Address Country": "-", "Currency": "-", "Delinquent": "attributes.delinquent",
	},
	"hubspot": {
		"Record ID": "extref", "Record ID - Contact": "extref", "First Name": partFirst, "Last Name": partLast, "Email": "email", "Phone Number": "phone",
		"Create Date": "registered_at", "Country/Region": "country", "Lead Status": "attributes.lead_status",
	},
	"mailchimp": {
		"Email Address": "email", "First Name": partFirst, "Last Name": partLast, "Phone Number": "phone", "LEID": "extref", "CC": "country",
		"OPTIN_TIME": "-", "CONFIRM_TIME": "-", "LAST_CHANGED": "-", "status": "attributes.subscription",
	},
	"salesforce": {
		"Contact ID": "extref", "First Name": partFirst, "Last Name": partLast, "Email": "email", "Mobile": "phone",
		"Account Name": "attributes.account_name", "Account ID": "attributes.account_id",
	},
	"kratos": {
		"id": "extref", "traits.email": "email", "traits.username": "login", "traits.name.first": partFirst, "traits.name.last": partLast, "traits.phone": "phone",
		"state": "status", "created_at": "registered_at", "updated_at": "-", "credentials": "-", "schema_id": "-", "schema_url": "-",
		"verifiable_addresses": "-", "recovery_addresses": "-",
	},
}

// Presets returns the names that ImportOptions.Preset accepts.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// apply adds the columns of a preset to those that the caller assigns, which take precedence.
func (o *ImportOptions) apply() error {
	if o.Preset == "" {
		return nil
	}
	preset, ok := presets[o.Preset]
	if !ok {
		return userkit.NewError(userkit.CodeUnknownValue, "preset", "%q is not one of %v", clip(o.Preset), Presets())
	}
	o.preset = preset
	return nil
}

// Inspection describes a file and how it would be imported.
type Inspection struct {
	Format   Format            `json:"format"`
	Headings []string          `json:"headings"`
	Samples  [][]string        `json:"samples"`           // the values of the first rows, by column
	Columns  []ColumnUse       `json:"columns"`           // the proposed mapping, and what is uncertain
	Mapping  map[string]string `json:"mapping"`           // the same mapping for ImportOptions.Columns, once a person has confirmed it
	Problem  string            `json:"problem,omitempty"` // why an import with these options would be refused
}

// maxSamples is how many rows an Inspection shows.
const maxSamples = 5

// Inspect reads the beginning of a file and returns how Import would read it with the same options.
// It imports nothing. Columns that are guessed, or that could be something else, are marked
// (Guessed, Suggested, Note), so that a person can confirm the mapping. It returns the errors of
// Import for a file that is not a table. If no column identifies the users, that is reported in
// Problem and is not an error.
func Inspect(from io.Reader, options ImportOptions) (found Inspection, err error) {
	if err := options.apply(); err != nil {
		return Inspection{}, err
	}
	if err := options.check(); err != nil {
		return Inspection{}, err
	}
	reader, err := openTable(&countingReader{from: from}, &options)
	if err != nil {
		return Inspection{}, err
	}
	defer func() {
		if closeErr := reader.close(); err == nil {
			err = closeErr
		}
	}()
	found.Format = formatOf(reader)
	sampled := sample(reader)
	rows := sampled.good()
	p, err := newPlan(options, found.Format == NDJSON, reader.columns(), rows)
	if err != nil && (p == nil || userkit.ErrorCode(err) != userkit.CodeRequired) {
		return Inspection{}, err
	}
	if err != nil {
		found.Problem = sampled.explain(err).Error()
	}
	found.Headings = slices.Clone(reader.columns())
	found.Mapping = map[string]string{}
	for _, c := range p.columns {
		found.Columns = append(found.Columns, c.ColumnUse)
		field := c.Field
		switch {
		case c.Ignored != "":
			field = "-"
		case c.part != "" && c.single == "":
			field = c.part
		}
		found.Mapping[c.Heading] = field
	}
	for i := range rows[:min(maxSamples, len(rows))] {
		texts := make([]string, len(found.Headings))
		for at, cell := range rows[i].cells {
			if texts[at] = clip(cell.text); p.columns[at].Ignored == IgnoredSecret || isSecret(p.columns[at].Heading) {
				texts[at] = ""
			}
		}
		found.Samples = append(found.Samples, texts)
	}
	return found, nil
}

// paths returns all headings that may be paths.
func (o *ImportOptions) paths() map[string]string {
	all := maps.Clone(o.preset)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, o.Columns)
	return all
}
