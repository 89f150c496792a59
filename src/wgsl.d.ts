declare module "*.wgsl" {
  const code: string;
  export default code;
}

// wgsl_reflect's main entry does not load in plain Node; this file does, and has no types of its own.
declare module "wgsl_reflect/wgsl_reflect.module.js" {
  export * from "wgsl_reflect";
}
