/* Stands where Scalar's assistant would be. */
export const Chat = () => null;
