package activities

// viewSchema is the schema, in a workspace's maintenance database, of what SmartDR shows there.
const viewSchema = "smartdr"
