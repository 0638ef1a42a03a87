/* A script that build.js bundles by itself, as a text. */
declare module "text:*" {
  const code: string;
  export default code;
}
