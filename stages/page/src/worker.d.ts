/* A script that build.js bundles by itself, as a text for a worker. */
declare module "worker:*" {
  const code: string;
  export default code;
}
