/* Both halves of React DOM as one module. */
import dom from "react-dom";
import client from "react-dom/client";

export default { ...dom, ...client };
