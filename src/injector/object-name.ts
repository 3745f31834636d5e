/** Whether an object of the API can be called so: a DNS subdomain (RFC 1123), whose labels may be of any length. */
export function isObjectName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text);
}
