/* build/frameScript.mjs: the address of a script that is a file of its own. */
declare module '*?frame-script' {
  const url: string
  export default url
}
