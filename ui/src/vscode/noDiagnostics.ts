/* Stand-in for node:diagnostics_channel: nobody listens. */
const channel = () => ({ hasSubscribers: false, publish() {}, subscribe() {}, unsubscribe() {} })

export { channel }
export const tracingChannel = () => ({ hasSubscribers: false, traceSync: (f: () => unknown) => f() })
export default { channel, tracingChannel }
